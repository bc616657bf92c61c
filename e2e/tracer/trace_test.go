package tracer

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	client = netip.MustParseAddrPort("192.0.2.9:40000")
	server = netip.MustParseAddrPort("10.0.0.1:80")
	nodeIP = netip.MustParseAddr("192.0.2.1")
	same   = cmp.Options{
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmpopts.EquateApprox(0, 1e-12),
		cmpopts.EquateEmpty(),
	}
)

// tcpPacket is a packet from the client that comes in through eth0 and would
// go out through eth1, for the server unless it is changed.
func tcpPacket(change func(*Packet)) Packet {
	p := Packet{
		Protocol: "tcp", Source: client, Destination: server, InInterface: "eth0", OutInterface: "eth1",
		Local: func(a netip.Addr) bool { return a == nodeIP },
	}
	if change != nil {
		change(&p)
	}
	return p
}

func toNode(p *Packet) { p.Destination = netip.AddrPortFrom(nodeIP, 80) }

func fromNode(p *Packet) {
	p.FromNode, p.Source, p.InInterface = true, netip.AddrPortFrom(nodeIP, 40000), ""
}

func toItself(p *Packet) {
	fromNode(p)
	toNode(p)
	p.OutInterface = ""
}

func mustParse(t testing.TB, text string) *Ruleset {
	t.Helper()
	rs, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func mustTrace(t testing.TB, rs *Ruleset, p Packet) []Outcome {
	t.Helper()
	got, err := rs.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, o := range got {
		sum += o.Probability
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("probabilities add up to %v: %v", sum, got)
	}
	return got
}

// A match is tried in a rule of table mangle, chain PREROUTING (OUTPUT for
// packets from the node), that drops the packet.
func TestMatches(t *testing.T) {
	const yes, no = true, false
	udp := func(p *Packet) { p.Protocol = "udp" }
	marked := func(m uint32) func(*Packet) { return func(p *Packet) { p.Mark = m } }
	state := func(s string) func(*Packet) { return func(p *Packet) { p.State = s } }
	bridged := func(p *Packet) { p.PhysIn, p.PhysOut = "veth1", "veth2" }
	cases := []struct {
		rule   string
		packet func(*Packet)
		want   bool
	}{
		{"", nil, yes},
		{"-s 192.0.2.9", nil, yes}, {"-s 192.0.2.8", nil, no}, {"! -s 192.0.2.9", nil, no}, {"-s 192.0.2.0/29", nil, no}, {"-s 192.0.2.0/28", nil, yes},
		{"-d 10.0.0.0/255.0.0.0", nil, yes}, {"! -d 10.0.0.0/8", nil, no}, {"-d 0.0.0.1/0.0.0.255", nil, yes}, {"-d 0.0.0.2/0.0.0.255", nil, no}, {"! -d 0.0.0.2/0.0.0.255", nil, yes},
		{"! -s 0.0.0.0/0", nil, no},
		{"-p tcp", nil, yes}, {"-p 6", nil, yes}, {"-p udp", nil, no}, {"! -p udp", nil, yes}, {"-p udp", udp, yes}, {"-p sctp", func(p *Packet) { p.Protocol = "132" }, yes},
		{"-p icmp", func(p *Packet) { p.Protocol = "icmp" }, yes},
		{"-i eth0", nil, yes}, {"-i eth", nil, no}, {"-i eth+", nil, yes}, {"! -i eth+", nil, no}, {"-i eth0+", nil, yes},
		{"-p tcp --dport 80", nil, yes}, {"-p tcp --dport 81", nil, no}, {"-p tcp --dport 79:81", nil, yes}, {"-p tcp ! --dport 79:81", nil, no}, {"-p tcp --dport 81:", nil, no}, {"-p tcp --dport :80", nil, yes},
		{"-p tcp --sport 40000 --dport 80", nil, yes}, {"-p tcp --sport 40001 --dport 80", nil, no}, {"-p udp --dport 80", nil, no}, {"-p udp --dport 80", udp, yes},
		{"-p tcp --syn", nil, yes}, {"-p tcp ! --syn", nil, no}, {"-p tcp --syn", state("ESTABLISHED"), no}, {"-p tcp --tcp-flags SYN,RST SYN", nil, yes}, {"-p tcp --tcp-flags ACK ACK", nil, no}, {"-p tcp --tcp-flags ALL NONE", nil, no},
		{"-p tcp -m multiport --dports 1,80", nil, yes}, {"-p tcp -m multiport --dports 1,70:79", nil, no}, {"-p tcp -m multiport ! --dports 1,70:90", nil, no}, {"-p tcp -m multiport --sports 80", nil, no}, {"-p tcp -m multiport --ports 40000", nil, yes}, {"-p tcp -m multiport --ports 80", nil, yes},
		{`-m comment --comment "no -s 1.2.3.4 \" here"`, nil, yes},
		{"-m mark --mark 0", nil, yes}, {"-m mark --mark 0x4000/0x4000", nil, no}, {"-m mark --mark 0x4000/0x4000", marked(0xffff), yes}, {"-m mark ! --mark 0x4000/0x4000", marked(0xffff), no}, {"-m mark --mark 0x10/0x1", marked(0x11), no}, {"-m mark --mark 5", marked(5), yes}, {"-m mark --mark 5", marked(0x105), no},
		{"-m conntrack --ctstate NEW", nil, yes}, {"-m conntrack --ctstate RELATED,ESTABLISHED", nil, no}, {"-m conntrack ! --ctstate RELATED,ESTABLISHED", nil, yes}, {"-m conntrack --ctstate ESTABLISHED", state("ESTABLISHED"), yes}, {"-m state --state INVALID", state("INVALID"), yes}, {"-m state --state NEW", nil, yes},
		{"-m conntrack --ctstate DNAT", nil, no}, {"-m conntrack --ctstate SNAT,DNAT", nil, no},
		{"-m conntrack --ctorigdst 10.0.0.1 --ctorigdstport 80 --ctproto tcp --ctorigsrc 192.0.2.0/24 --ctorigsrcport 40000:", nil, yes},
		{"-m conntrack --ctorigdst 10.0.0.2", nil, no}, {"-m conntrack ! --ctorigdst 10.0.0.2", nil, yes}, {"-m conntrack --ctorigdstport 81", nil, no}, {"-m conntrack ! --ctproto udp", nil, yes}, {"-m conntrack ! --ctorigsrc 192.0.2.9", nil, no}, {"-m conntrack ! --ctorigsrcport 40000", nil, no},
		{"-m conntrack ! --ctproto udp", state("INVALID"), no}, {"-m conntrack --ctstate INVALID --ctproto udp", state("INVALID"), yes}, {"-m conntrack --ctstate UNTRACKED", state("UNTRACKED"), yes},
		{"-m addrtype --dst-type LOCAL", nil, no}, {"-m addrtype --dst-type LOCAL", toNode, yes}, {"-m addrtype ! --dst-type LOCAL", toNode, no}, {"-m addrtype --dst-type UNICAST", nil, yes}, {"-m addrtype --dst-type UNICAST", toNode, no}, {"-m addrtype --dst-type LOCAL,UNICAST", toNode, yes},
		{"-m addrtype --dst-type MULTICAST", func(p *Packet) { p.Destination = netip.MustParseAddrPort("224.0.0.1:80") }, yes}, {"-m addrtype --dst-type BROADCAST", func(p *Packet) { p.Destination = netip.MustParseAddrPort("255.255.255.255:80") }, yes},
		{"-m addrtype --src-type LOCAL", nil, no}, {"-m addrtype --src-type LOCAL", fromNode, yes}, {"-m addrtype --src-type LOCAL --dst-type LOCAL", fromNode, no}, {"-m addrtype --dst-type LOCAL", func(p *Packet) { p.Destination = netip.MustParseAddrPort("127.0.0.1:80") }, yes},
		{"-m recent --rcheck --seconds 10 --reap --name x", nil, no}, {"-m recent --update --name x", nil, no}, {"-m recent --remove --name x", nil, no}, {"-m recent --set --name x", nil, yes}, {"-m recent ! --rcheck --name x", nil, yes},
		{"-m physdev --physdev-is-in", nil, no}, {"-m physdev ! --physdev-is-in", nil, yes}, {"-m physdev --physdev-is-in", bridged, yes}, {"-m physdev --physdev-in veth1", bridged, yes}, {"-m physdev --physdev-in veth+", nil, no}, {"-m physdev ! --physdev-in veth1", nil, yes}, {"-m physdev --physdev-out veth1", bridged, no}, {"-m physdev --physdev-is-bridged", bridged, yes}, {"-m physdev --physdev-is-out", nil, no},
		{"-m nfacct --nfacct-name x", nil, yes},
		{"-m rpfilter", nil, yes}, {"-m rpfilter --loose --invert", nil, no},
		{"-m set --match-set hosts src", nil, yes}, {"-m set --match-set hosts dst", nil, no}, {"-m set ! --match-set hosts dst", nil, yes}, {"-m set --match-set ports dst,dst", nil, yes}, {"-m set --match-set ports dst,src", nil, no}, {"-m set --match-set ports dst,dst", udp, no},
		{"-m statistic --mode random --probability 1", nil, yes}, {"-m statistic --mode random --probability 0", nil, no}, {"-m statistic --mode random ! --probability 1", nil, no},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			p := tcpPacket(c.packet)
			chain := "PREROUTING"
			if p.FromNode {
				chain = "OUTPUT"
			}
			rs := mustParse(t, bare("mangle", "-A "+chain+" "+c.rule+" -j DROP"))
			rs.Sets = map[string]func(netip.Addr, uint16, string) bool{
				"hosts": func(a netip.Addr, _ uint16, _ string) bool { return a == client.Addr() },
				"ports": func(a netip.Addr, port uint16, proto string) bool {
					return netip.AddrPortFrom(a, port) == server && proto == "tcp"
				},
			}
			got := mustTrace(t, rs, p)
			if len(got) != 1 || (got[0].Action == Drop) != c.want {
				t.Errorf("%q matched: %v, want %v", c.rule, got, c.want)
			}
		})
	}
}

// flowCases are about the way through chains, tables and hooks.
var flowCases = []struct {
	name   string
	rules  string
	packet func(*Packet)
	want   []Outcome
}{
	{"no rules accept", "", nil, accepted(server)},
	{"a policy drops at the end", bare("filter", ":FORWARD DROP", "-A FORWARD -p udp -j ACCEPT"), nil, []Outcome{{Action: Drop, Destination: server, Probability: 1}}},
	{"ACCEPT comes before the policy", bare("filter", ":FORWARD DROP", "-A FORWARD -p tcp -j ACCEPT"), nil, accepted(server)},
	{"ACCEPT ends only its table", bare("mangle", "-A FORWARD -j ACCEPT", "-A FORWARD -j DROP") + bare("filter", "-A FORWARD -j REJECT"), nil, []Outcome{{Action: Reject, Destination: server, Probability: 1}}},
	{"ACCEPT in a chain ends the built-in chain too", in("filter", "-A FORWARD -j A", "-A FORWARD -j DROP", "-A A -j ACCEPT"), nil, accepted(server)},
	{"a jump comes back", in("filter", "-A FORWARD -j A", "-A FORWARD -j DROP", "-A A -p udp -j ACCEPT"), nil, dropped(server)},
	{"RETURN comes back", in("filter", "-A FORWARD -j A", "-A FORWARD -j REJECT", "-A A -j RETURN", "-A A -j DROP"), nil, []Outcome{{Action: Reject, Destination: server, Probability: 1}}},
	{"RETURN from a built-in chain is its policy", bare("filter", ":FORWARD DROP", "-A FORWARD -j RETURN", "-A FORWARD -j ACCEPT"), nil, dropped(server)},
	{"a goto comes back to the caller of its chain", in("filter", "-A FORWARD -j A", "-A FORWARD -j REJECT", "-A A -g B", "-A A -j DROP", "-A B -p udp"), nil, []Outcome{{Action: Reject, Destination: server, Probability: 1}}},
	{"RETURN after a goto does so too", in("filter", "-A FORWARD -j A", "-A FORWARD -j REJECT", "-A A -g B", "-A A -j DROP", "-A B -j RETURN", "-A B -j DROP"), nil, []Outcome{{Action: Reject, Destination: server, Probability: 1}}},
	{"a goto from a built-in chain ends at its policy", in("filter", ":FORWARD DROP", "-A FORWARD -g A", "-A FORWARD -j ACCEPT", "-A A -j RETURN"), nil, dropped(server)},
	{"a goto that does not match goes on", in("filter", "-A FORWARD -j A", "-A A -p udp -g B", "-A A -j DROP"), nil, dropped(server)},
	{"a rule without target only counts", bare("filter", "-A FORWARD", "-A FORWARD -j LOG --log-prefix x", "-A FORWARD -j DROP"), nil, dropped(server)},
	{"bits outside of all masks are kept", bare("mangle", "-A PREROUTING -j MARK --set-xmark 0x3/0xff", "-A PREROUTING -j MARK --or-mark 0x4000", "-A PREROUTING -j MARK --xor-mark 0x1", "-A PREROUTING -j MARK --and-mark 0xfffe") + bare("filter", "-A FORWARD -m mark --mark 0x4f02 -j DROP"), func(p *Packet) { p.Mark = 0xf0e01 }, accepted(server)},
	{"marks are set bit by bit and read across tables", bare("mangle", "-A PREROUTING -j MARK --set-xmark 0x3/0xff", "-A PREROUTING -j MARK --or-mark 0x4000", "-A PREROUTING -j MARK --xor-mark 0x1", "-A PREROUTING -j MARK --and-mark 0xfffe") + bare("filter", "-A FORWARD -m mark --mark 0x4f02 -j DROP"), func(p *Packet) { p.Mark = 0xf0f55 }, dropped(server)},
	{"--set-mark keeps the bits outside of mask and value", bare("mangle", "-A PREROUTING -j MARK --set-mark 0x10/0x1") + bare("filter", "-A FORWARD -m mark ! --mark 0x1f2 -j DROP"), func(p *Packet) { p.Mark = 0x1e3 }, accepted(server)},
	{"a packet for the node walks INPUT", bare("filter", "-A FORWARD -j DROP", "-A INPUT -j REJECT"), toNode, []Outcome{{Action: Reject, Destination: netip.AddrPortFrom(nodeIP, 80), Probability: 1}}},
	{"DNAT to the node makes a packet walk INPUT", bare("nat", "-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1:8080") + bare("filter", "-A FORWARD -j DROP", "-A INPUT -d 192.0.2.1 -p tcp --dport 8080 -j REJECT"), nil, []Outcome{{Action: Reject, Destination: netip.AddrPortFrom(nodeIP, 8080), DNAT: true, Probability: 1}}},
	{"DNAT away from the node makes a packet walk FORWARD", bare("nat", "-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1") + bare("filter", "-A INPUT -j DROP"), toNode, []Outcome{{Destination: server, DNAT: true, Probability: 1}}},
	{"DNAT ends the table nat for the hook", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2", "-A PREROUTING -j DNAT --to-destination 10.0.0.3"), nil, []Outcome{{Destination: netip.MustParseAddrPort("10.0.0.2:80"), DNAT: true, Probability: 1}}},
	{"DNAT to a port keeps the address", bare("nat", "-A PREROUTING -p tcp -j DNAT --to-destination :8080"), nil, []Outcome{{Destination: netip.MustParseAddrPort("10.0.0.1:8080"), DNAT: true, Probability: 1}}},
	{"DNAT shows in the state", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2") + bare("filter", "-A FORWARD -m conntrack --ctstate DNAT -j DROP"), nil, []Outcome{{Action: Drop, Destination: netip.MustParseAddrPort("10.0.0.2:80"), DNAT: true, Probability: 1}}},
	{"DNAT to what it was does not show in the state", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.1") + bare("filter", "-A FORWARD -m conntrack --ctstate DNAT -j DROP"), nil, []Outcome{{Destination: server, DNAT: true, Probability: 1}}},
	{"the original destination outlives DNAT", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2") + bare("filter", "-A FORWARD -d 10.0.0.2 -m conntrack --ctorigdst 10.0.0.1 -j DROP"), nil, []Outcome{{Action: Drop, Destination: netip.MustParseAddrPort("10.0.0.2:80"), DNAT: true, Probability: 1}}},
	{"MASQUERADE ends the table nat", bare("nat", "-A POSTROUTING -j MASQUERADE --random-fully", "-A POSTROUTING -j SNAT --to-source 10.9.9.9"), nil, []Outcome{{Destination: server, Masquerade: true, Probability: 1}}},
	{"SNAT tells its address", bare("nat", "-A POSTROUTING -j SNAT --to-source 10.9.9.9"), nil, []Outcome{{Destination: server, Masquerade: true, SNAT: netip.MustParseAddr("10.9.9.9"), Probability: 1}}},
	{"established packets do not see nat", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2", "-A POSTROUTING -j MASQUERADE"), func(p *Packet) { p.State = "ESTABLISHED" }, accepted(server)},
	{"untracked packets do not see nat", bare("raw", "-A PREROUTING -j NOTRACK") + bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2"), nil, accepted(server)},
	{"CT --notrack makes packets untracked", bare("raw", "-A PREROUTING -j CT --notrack") + bare("filter", "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP"), nil, dropped(server)},
	{"the table raw knows no connection", bare("raw", "-A PREROUTING -m conntrack --ctstate NEW -j DROP"), nil, accepted(server)},
	{"-o sees the outgoing interface in FORWARD", bare("filter", "-A FORWARD -i eth0 -o eth1 -j DROP"), nil, dropped(server)},
	{"-o matches nothing before routing", in("mangle", "-A PREROUTING -j A", "-A A -o eth1 -j DROP"), nil, accepted(server)},
	{"-i still sees the interface in POSTROUTING", in("nat", "-A POSTROUTING -j A", "-A A -i eth0 -o eth1 -j MASQUERADE"), nil, []Outcome{{Destination: server, Masquerade: true, Probability: 1}}},
	{"what the node sends walks OUTPUT and POSTROUTING", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.3", "-A OUTPUT -o eth1 -j DNAT --to-destination 10.0.0.2", "-A POSTROUTING -d 10.0.0.2 -j MASQUERADE") + bare("filter", "-A FORWARD -j DROP", "-A INPUT -j DROP"), fromNode, []Outcome{{Destination: netip.MustParseAddrPort("10.0.0.2:80"), DNAT: true, Masquerade: true, Probability: 1}}},
	{"filter OUTPUT sees the new destination", bare("nat", "-A OUTPUT -j DNAT --to-destination 10.0.0.2") + bare("filter", "-A OUTPUT -d 10.0.0.2 -j DROP"), fromNode, []Outcome{{Action: Drop, Destination: netip.MustParseAddrPort("10.0.0.2:80"), DNAT: true, Probability: 1}}},
	{"what the node sends itself walks INPUT", bare("filter", "-A INPUT -i lo -j DROP"), toItself, dropped(netip.AddrPortFrom(nodeIP, 80))},
	{"what the node sends itself goes out through lo", bare("filter", "-A OUTPUT -o lo -j DROP"), toItself, dropped(netip.AddrPortFrom(nodeIP, 80))},
	{"what the node sends itself is not translated twice", bare("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.2", "-A INPUT -j SNAT --to-source 10.9.9.9"), toItself, accepted(netip.AddrPortFrom(nodeIP, 80))},
	{"REDIRECT of what the node sends goes to loopback", bare("nat", "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001"), fromNode, []Outcome{{Destination: netip.MustParseAddrPort("127.0.0.1:15001"), DNAT: true, Probability: 1}}},
	{"a choice after a choice", bare("filter", "-A FORWARD -m statistic --mode random --probability 0.25 -j DROP", "-A FORWARD -m statistic --mode random --probability 0.5 -j REJECT"), nil, []Outcome{{Destination: server, Probability: 0.375}, {Action: Reject, Destination: server, Probability: 0.375}, {Action: Drop, Destination: server, Probability: 0.25}}},
	{"an inverted probability", bare("filter", "-A FORWARD -m statistic --mode random ! --probability 0.25 -j DROP"), nil, []Outcome{{Destination: server, Probability: 0.25}, {Action: Drop, Destination: server, Probability: 0.75}}},
	{"two probabilities in one rule", bare("filter", "-A FORWARD -m statistic --mode random --probability 0.5 -m statistic --mode nth --every 4 --packet 0 -j DROP"), nil, []Outcome{{Destination: server, Probability: 0.875}, {Action: Drop, Destination: server, Probability: 0.125}}},
	{"the rest of a nested choice comes back", in("filter", "-A FORWARD -m statistic --mode random --probability 0.5 -j A", "-A FORWARD -j REJECT", "-A A -m statistic --mode random --probability 0.5 -j ACCEPT"), nil, []Outcome{{Destination: server, Probability: 0.25}, {Action: Reject, Destination: server, Probability: 0.75}}},
	{"ways that meet again are one outcome", in("filter", "-A FORWARD -m statistic --mode random --probability 0.5 -j A", "-A FORWARD -j DROP", "-A A -j DROP"), nil, dropped(server)},
	{"a mark keeps apart what chance parted", bare("mangle", "-A PREROUTING -m statistic --mode random --probability 0.25 -j MARK --set-mark 1") + bare("filter", "-A FORWARD -m mark --mark 1 -j DROP"), nil, []Outcome{{Destination: server, Probability: 0.75}, {Action: Drop, Destination: server, Probability: 0.25}}},
	{"security comes after filter", bare("security", "-A FORWARD -j DROP") + bare("filter", "-A FORWARD -p udp -j REJECT"), nil, dropped(server)},
}

func accepted(to netip.AddrPort) []Outcome { return []Outcome{{Destination: to, Probability: 1}} }

func dropped(to netip.AddrPort) []Outcome {
	return []Outcome{{Action: Drop, Destination: to, Probability: 1}}
}

func TestFlow(t *testing.T) {
	for _, c := range flowCases {
		t.Run(c.name, func(t *testing.T) {
			got := mustTrace(t, mustParse(t, c.rules), tcpPacket(c.packet))
			if diff := cmp.Diff(c.want, got, same); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTraceFails(t *testing.T) {
	cases := []struct {
		name, rules string
		packet      func(*Packet)
		want        string
	}{
		{"a set that is not there", bare("filter", "-A FORWARD -m set --match-set x src -j DROP"), nil, "table filter, chain FORWARD, rule 1 (-m set --match-set x src -j DROP): there is no set x"},
		{"a set asked deep down", in("filter", "-A FORWARD -j A", "-A A", "-A A -m set --match-set x src"), nil, "table filter, chain A, rule 2 (-m set --match-set x src): there is no set x"},
		{"REDIRECT from outside", bare("nat", "-A PREROUTING -j REDIRECT"), nil, "rule 1 (-j REDIRECT): REDIRECT of a packet from outside"},
		{"an unknown protocol", "", func(p *Packet) { p.Protocol = "nope" }, "unknown protocol"},
		{"no protocol", "", func(p *Packet) { p.Protocol = "all" }, "without a protocol"},
		{"an unknown state", "", func(p *Packet) { p.State = "DNAT" }, "unknown packet state"},
		{"no destination", "", func(p *Packet) { p.Destination = netip.AddrPort{} }, "without source or destination"},
		{"two families", "", func(p *Packet) { p.Source = netip.MustParseAddrPort("[fd00::1]:1") }, "between IPv4 and IPv6"},
		{"rules of the other family", bare("filter", "-A INPUT -s fd00::1"), nil, "not of the family"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := mustParse(t, c.rules).Trace(tcpPacket(c.packet))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v and error %v, want %q in it", got, err, c.want)
			}
		})
	}
}

func TestMappedAddressesAreIPv4(t *testing.T) {
	rs := mustParse(t, bare("filter", "-A FORWARD -s 192.0.2.9 -j DROP"))
	got := mustTrace(t, rs, tcpPacket(func(p *Packet) { p.Source = netip.MustParseAddrPort("[::ffff:192.0.2.9]:40000") }))
	if diff := cmp.Diff(dropped(server), got, same); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestIPv6(t *testing.T) {
	rs := mustParse(t, bare("nat", "-A PREROUTING -d fd00::/64 -p tcp --dport 80 -j DNAT --to-destination [fd00:1::2]:8080"))
	p := Packet{Protocol: "tcp", Source: netip.MustParseAddrPort("[fd00:2::1]:1"), Destination: netip.MustParseAddrPort("[fd00::1]:80")}
	want := []Outcome{{Destination: netip.MustParseAddrPort("[fd00:1::2]:8080"), DNAT: true, Probability: 1}}
	if diff := cmp.Diff(want, mustTrace(t, rs, p), same); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	p.Protocol = "icmp"
	icmp := mustParse(t, bare("filter", "-A FORWARD -p icmpv6 -j DROP"))
	if got := mustTrace(t, icmp, p); got[0].Action != Drop {
		t.Errorf("icmp in IPv6: %v", got)
	}
}

// The second of three endpoints gets its third only roughly, as probabilities
// are parts of 2^31.
func TestProbabilityIsRoundedAsTheKernelDoes(t *testing.T) {
	rs := mustParse(t, bare("filter", "-A FORWARD -m statistic --mode random --probability 0.3333333333 -j DROP"))
	for _, o := range mustTrace(t, rs, tcpPacket(nil)) {
		if want := 715827883.0 / (1 << 31); o.Action == Drop && o.Probability != want {
			t.Errorf("got %.15f, want %.15f", o.Probability, want)
		}
	}
}

// manyServices is a chain of n rules that each jump to a chain of their own.
func manyServices(n int) string {
	var text strings.Builder
	text.WriteString("*nat\n:SERVICES - [0:0]\n-A PREROUTING -j SERVICES\n")
	for i := range n {
		fmt.Fprintf(&text, ":S%d - [0:0]\n", i)
		fmt.Fprintf(&text, "-A SERVICES -d 10.1.%d.%d/32 -p tcp -m comment --comment \"x/y:z\" -m tcp --dport 80 -j S%d\n", i/256, i%256, i)
	}
	text.WriteString("COMMIT\n")
	return text.String()
}

func BenchmarkTrace(b *testing.B) {
	rs, p := mustParse(b, manyServices(5000)), tcpPacket(nil)
	for b.Loop() {
		mustTrace(b, rs, p)
	}
}

func BenchmarkParse(b *testing.B) {
	text := manyServices(5000)
	for b.Loop() {
		mustParse(b, text)
	}
}
