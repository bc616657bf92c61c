package tracer

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serviceRules is a rule set in the shape of a service proxy, with the names
// and addresses of no real one: a service 10.96.0.10:80 with three endpoints
// and node port 30080, a service 10.96.0.20:443 without endpoints, and an
// external address 203.0.113.5 that stays on the node's own endpoint.
const serviceRules = `*mangle
:PROXY-CANARY - [0:0]
COMMIT
*nat
:SERVICES - [0:0]
:NODEPORTS - [0:0]
:MARK-MASQ - [0:0]
:POST - [0:0]
:SVC-WEB - [0:0]
:EXT-WEB - [0:0]
:LOCAL-WEB - [0:0]
:SEP-1 - [0:0]
:SEP-2 - [0:0]
:SEP-3 - [0:0]
-A PREROUTING -m comment --comment "service portals" -j SERVICES
-A OUTPUT -m comment --comment "service portals" -j SERVICES
-A POSTROUTING -m comment --comment "traffic that needs SNAT" -j POST
-A MARK-MASQ -j MARK --or-mark 0x4000
-A POST -m mark ! --mark 0x4000/0x4000 -j RETURN
-A POST -j MARK --xor-mark 0x4000
-A POST -m comment --comment "masquerade" -j MASQUERADE --random-fully
-A SERVICES -m comment --comment "shop/web cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80 -j SVC-WEB
-A SERVICES -m comment --comment "shop/web load balancer" -m tcp -p tcp -d 203.0.113.5 --dport 80 -j EXT-WEB
-A SERVICES -m comment --comment "last" -m addrtype --dst-type LOCAL -j NODEPORTS
-A NODEPORTS -m comment --comment shop/web -m tcp -p tcp --dport 30080 -j EXT-WEB
-A EXT-WEB -s 10.244.0.0/16 -m comment --comment "pods take the short way" -j SVC-WEB
-A EXT-WEB -m addrtype --src-type LOCAL -j MARK-MASQ
-A EXT-WEB -m addrtype --src-type LOCAL -j SVC-WEB
-A EXT-WEB -j LOCAL-WEB
-A SVC-WEB -p tcp -m tcp -d 10.96.0.10 --dport 80 ! -s 10.244.0.0/16 -j MARK-MASQ
-A SVC-WEB -m comment --comment "10.244.1.2:8080" -m statistic --mode random --probability 0.3333333333 -j SEP-1
-A SVC-WEB -m comment --comment "10.244.1.3:8080" -m statistic --mode random --probability 0.5000000000 -j SEP-2
-A SVC-WEB -m comment --comment "10.244.1.4:8080" -j SEP-3
-A LOCAL-WEB -j SEP-1
-A SEP-1 -s 10.244.1.2 -j MARK-MASQ
-A SEP-1 -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:8080
-A SEP-2 -s 10.244.1.3 -j MARK-MASQ
-A SEP-2 -m tcp -p tcp -j DNAT --to-destination 10.244.1.3:8080
-A SEP-3 -s 10.244.1.4 -j MARK-MASQ
-A SEP-3 -m tcp -p tcp -j DNAT --to-destination 10.244.1.4:8080
COMMIT
*filter
:SERVICES - [0:0]
:EXTERNAL - [0:0]
:FWD - [0:0]
:FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -j EXTERNAL
-A INPUT -j FIREWALL
-A FORWARD -m conntrack --ctstate NEW -j SERVICES
-A FORWARD -m conntrack --ctstate NEW -j EXTERNAL
-A FORWARD -j FWD
-A OUTPUT -m conntrack --ctstate NEW -j SERVICES
-A OUTPUT -j FIREWALL
-A FIREWALL -m comment --comment "block martians" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A FWD -m conntrack --ctstate INVALID -j DROP
-A FWD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A SERVICES -m comment --comment "shop/tls has no endpoints" -m tcp -p tcp -d 10.96.0.20 --dport 443 -j REJECT
COMMIT
`

func TestServiceRules(t *testing.T) {
	third := 715827883.0 / (1 << 31)
	pod := func(last byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 1, last}), 8080)
	}
	spread := func(masquerade ...bool) []Outcome {
		return []Outcome{
			{Destination: pod(2), DNAT: true, Masquerade: masquerade[0], Probability: third},
			{Destination: pod(3), DNAT: true, Masquerade: masquerade[1], Probability: (1 - third) / 2},
			{Destination: pod(4), DNAT: true, Masquerade: masquerade[2], Probability: (1 - third) / 2},
		}
	}
	from := func(source, to string) func(*Packet) {
		return func(p *Packet) {
			p.Source, p.Destination = netip.MustParseAddrPort(source), netip.MustParseAddrPort(to)
		}
	}
	cases := []struct {
		name   string
		packet func(*Packet)
		want   []Outcome
	}{
		{"a pod reaches every endpoint alike", from("10.244.2.2:1", "10.96.0.10:80"), spread(false, false, false)},
		{"an endpoint that reaches itself is masqueraded", from("10.244.1.3:1", "10.96.0.10:80"), spread(false, true, false)},
		{"the cluster IP is masqueraded from outside", from("192.0.2.9:1", "10.96.0.10:80"), spread(true, true, true)},
		{"the node is masqueraded", func(p *Packet) { fromNode(p); p.Destination = netip.MustParseAddrPort("10.96.0.10:80") }, spread(true, true, true)},
		{"another port goes its way", from("10.244.2.2:1", "10.96.0.10:81"), accepted(netip.MustParseAddrPort("10.96.0.10:81"))},
		{"the node port keeps the source and stays local", from("192.0.2.9:1", "192.0.2.1:30080"), []Outcome{{Destination: pod(2), DNAT: true, Probability: 1}}},
		{"the load balancer keeps the source and stays local", from("192.0.2.9:1", "203.0.113.5:80"), []Outcome{{Destination: pod(2), DNAT: true, Probability: 1}}},
		{"a pod takes the short way to the load balancer", from("10.244.2.2:1", "203.0.113.5:80"), spread(false, false, false)},
		{"the node reaches its own node port", func(p *Packet) { toItself(p); p.Destination = netip.AddrPortFrom(nodeIP, 30080) }, spread(true, true, true)},
		{"no endpoints reject", from("10.244.2.2:1", "10.96.0.20:443"), []Outcome{{Action: Reject, Destination: netip.MustParseAddrPort("10.96.0.20:443"), Probability: 1}}},
		{"no endpoints reject the node too", func(p *Packet) { fromNode(p); p.Destination = netip.MustParseAddrPort("10.96.0.20:443") }, []Outcome{{Action: Reject, Destination: netip.MustParseAddrPort("10.96.0.20:443"), Probability: 1}}},
		{"invalid packets are dropped", func(p *Packet) { p.State = "INVALID" }, dropped(server)},
		{"martians are dropped", from("192.0.2.9:1", "127.0.0.1:80"), dropped(netip.MustParseAddrPort("127.0.0.1:80"))},
		{"loopback from the node is fine", func(p *Packet) {
			p.FromNode, p.Source, p.Destination = true, netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:80")
		}, accepted(netip.MustParseAddrPort("127.0.0.1:80"))},
	}
	rs := mustParse(t, serviceRules)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := mustTrace(t, rs, tcpPacket(c.packet))
			if diff := cmp.Diff(c.want, got, same); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServiceRulesInKernels(t *testing.T) {
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			compareWithKernel(t, newKernel(t, variant), restoreCase{text: serviceRules})
		})
	}
}
