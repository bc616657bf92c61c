package ipvs

import (
	"context"
	"fmt"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// ChainPrefix begins the names of all our chains: not FL-, which is iptables mode's, so that one mode can take over from the other.
const ChainPrefix = "FLV-"

// Our chains. Those that a built-in chain leads to bear its name.
const (
	chainPrerouting  = "FLV-PREROUTING"
	chainInput       = "FLV-INPUT"
	chainForward     = "FLV-FORWARD"
	chainOutput      = "FLV-OUTPUT"
	chainPostrouting = "FLV-POSTROUTING"
	chainInside      = "FLV-INSIDE"
	chainScheduled   = "FLV-SCHEDULED"
	chainMasquerade  = "FLV-MASQUERADE"
	chainFilter      = "FLV-FILTER"
)

const (
	stateNew = "-m conntrack --ctstate NEW"
	toLocal  = "-m addrtype --dst-type LOCAL"
	notSYN   = "-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
)

// jumps lists the ways into our chains.
var jumps = []xtables.Jump{
	{Table: "raw", From: "PREROUTING", To: chainPrerouting},
	{Table: "mangle", From: "PREROUTING", To: chainPrerouting},
	{Table: "mangle", From: "INPUT", To: chainInput},
	{Table: "mangle", From: "FORWARD", To: chainForward},
	{Table: "mangle", From: "OUTPUT", To: chainOutput},
	{Table: "nat", From: "PREROUTING", To: chainPrerouting},
	{Table: "nat", From: "OUTPUT", To: chainOutput},
	{Table: "nat", From: "POSTROUTING", To: chainPostrouting},
	{Table: "filter", From: "INPUT", To: chainInput},
	{Table: "filter", From: "FORWARD", To: chainForward},
	{Table: "filter", From: "OUTPUT", To: chainOutput},
}

// owner is this package, in the packet filter.
var owner = xtables.Owner{Prefix: ChainPrefix, Ours: ours, Jumps: jumps}

// ours reports whether a chain is one of this package's.
func ours(name string) bool {
	switch name {
	case chainPrerouting, chainInput, chainForward, chainOutput, chainPostrouting, chainInside, chainScheduled, chainMasquerade, chainFilter:
		return true
	}
	return false
}

// layout renders the rules. They depend on the node's settings alone.
type layout struct {
	family            service.Family
	masquerade, local uint32 // bits of the packet mark: masquerade; lead to IPVS
	randomPort        bool   // MASQUERADE knows --random-fully
	dropInvalid       bool
	table             *service.Table
	// lacking are the sets of types that the kernel does not have: rules cannot name them.
	lacking [setCount]error
}

func (b *Backend) replaceRules(ctx context.Context, table *service.Table) error {
	random, err := b.kernel.rules.RandomFully(ctx)
	if err != nil {
		return err
	}
	l := layout{
		family:      b.options.Family,
		masquerade:  1 << b.options.MasqueradeBit,
		local:       1 << b.options.MarkBit,
		randomPort:  random,
		dropInvalid: b.options.DropInvalid,
		table:       table,
		lacking:     b.lacking,
	}
	return b.kernel.rules.Replace(ctx, map[string][]xtables.Chain{"raw": l.raw(), "mangle": l.mangle(), "nat": l.nat(), "filter": l.filter()})
}

func setMark(bit uint32) string   { return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", bit, bit) }
func clearMark(bit uint32) string { return fmt.Sprintf("-j MARK --set-xmark 0x0/%#x", bit) }
func marked(bit uint32) string    { return fmt.Sprintf("-m mark --mark %#x/%#x", bit, bit) }

// in matches packets for frontends in a set.
func (l layout) in(id setID) string { return l.match(id, "dst,dst") }

// never matches no packet: no bit of the mark can differ from 0.
const never = "-m mark ! --mark 0x0/0x0"

// match matches packets for what is in a set; none, where there can be no such set.
func (l layout) match(id setID, fields string) string {
	if l.lacking[id] != nil {
		return never
	}
	return fmt.Sprintf("-m set --match-set %s %s", definition(l.family, id).name, fields)
}

// notIn matches all others, which are all packets where there can be no such set.
func (l layout) notIn(id setID, fields string) string {
	if l.lacking[id] != nil {
		return ""
	}
	return fmt.Sprintf("-m set ! --match-set %s %s", definition(l.family, id).name, fields)
}

// raw renders what leads the packets of others to IPVS: each of a connection's, not the first one alone. It stands in this table because
// others accept what belongs to a standing connection in the next one, where then nothing behind them is asked (Calico does).
func (l layout) raw() []xtables.Chain {
	prerouting := xtables.NewChain(chainPrerouting)
	prerouting.Rule(l.in(setVirtual), setMark(l.local))
	prerouting.Rule(l.in(setInside), setMark(l.local))
	return []xtables.Chain{prerouting.Chain}
}

// mangle renders who is not led to IPVS, and what leads the node's own packets there: a mark set here has them routed again.
func (l layout) mangle() []xtables.Chain {
	inside := xtables.NewChain(chainInside)
	// From its second packet on, connection tracking carries a connection that IPVS has led from an alias to its endpoint.
	inside.Rule("-m conntrack --ctstate DNAT", clearMark(l.local))
	inside.Rule("-m conntrack ! --ctstate INVALID,DNAT", setMark(l.local))
	// The mark goes once the packet is on its way, lest another routing decision heeds it: that for a tunnel's packet, for example, which
	// inherits it.
	unmark := func(chain string) xtables.Chain {
		w := xtables.NewChain(chain)
		w.Rule(marked(l.local), clearMark(l.local))
		return w.Chain
	}
	return []xtables.Chain{inside.Chain, unmark(chainScheduled), l.manglePrerouting(), l.mangleOutput(), unmark(chainInput), unmark(chainForward)}
}

func (l layout) manglePrerouting() xtables.Chain {
	w := xtables.NewChain(chainPrerouting)
	if l.dropInvalid {
		w.Rule("-m conntrack --ctstate INVALID", l.in(setVirtual), "-j DROP")
	}
	l.admit(w)
	if pods := insiders(l.table.Pods); pods != nobody {
		w.Rule(pods, l.in(setInside), "-g", chainInside)
	}
	w.Rule(stateNew, l.in(setDrop), "-j DROP")
	// A virtual server that stands for its old connections alone. Led to it, the refusal would have a virtual IP as its source, and the
	// kernel has no route from there.
	w.Rule(stateNew, l.in(setReject), clearMark(l.local))
	// An error about a connection is for IPVS too: it tells endpoints how long their packets may be. Those for others find no route
	// in our table, and pass.
	w.Rule("-p", l.icmp(), "-m conntrack --ctstate RELATED", setMark(l.local))
	return w.Chain
}

func (l layout) mangleOutput() xtables.Chain {
	w := xtables.NewChain(chainOutput)
	// Packets come here again when IPVS has rewritten them: the node's own bear the mark still, and those of others are not from here.
	w.Rule(marked(l.local), "-g", chainScheduled)
	// Where somebody has deleted a virtual server, packets for it get to the node's own processes until it is back, and IPv6 would let them
	// answer. A reset is no answer.
	const answer = "-m addrtype ! --src-type LOCAL -m conntrack --ctdir REPLY"
	w.Rule("-p tcp -m tcp --tcp-flags RST RST -j RETURN")
	w.Rule(answer, l.match(setVirtual, "src,src"), "-j DROP")
	w.Rule("-s", aliasRange(l.family).String(), answer, "-j DROP")
	w.Rule("-m addrtype ! --src-type LOCAL -j RETURN")
	l.admit(w)
	w.Rule(l.in(setInside), "-g", chainInside)
	w.Rule(stateNew, l.in(setDrop), "-j DROP")
	w.Rule(stateNew, l.in(setReject), "-j RETURN")
	w.Rule(l.in(setVirtual), setMark(l.local))
	return w.Chain
}

// admit renders who is not let in.
func (l layout) admit(w *xtables.ChainWriter) {
	w.Rule(stateNew, l.in(setRanged), l.notIn(setAdmitted, "dst,dst,src"), "-j DROP")
}

func (l layout) icmp() string {
	if l.family == service.IPv6 {
		return "ipv6-icmp"
	}
	return "icmp"
}

// nobody is what insiders returns where pods cannot be told.
const nobody = "nobody"

// insiders matches the packets of pods.
func insiders(pods service.LocalTraffic) string {
	if match := xtables.PodMatch(pods); match != "" {
		return match
	}
	return nobody
}

// outsiderMatch matches everybody else's. What the node sends itself came in by no interface.
func outsiderMatch(pods service.LocalTraffic, fromNode bool) string {
	match := insiders(pods)
	if match == nobody || fromNode && !pods.Sources.IsValid() {
		return ""
	}
	return "! " + match
}

// nat renders masquerading, and who gets the second virtual server. These chains see the first packet of a connection only.
func (l layout) nat() []xtables.Chain {
	prerouting, output := xtables.NewChain(chainPrerouting), xtables.NewChain(chainOutput)
	toAlias := "-j NETMAP --to " + aliasRange(l.family).String()
	if pods := insiders(l.table.Pods); pods != nobody {
		prerouting.Rule(pods, l.in(setInside), toAlias)
	}
	l.mark(prerouting, outsiderMatch(l.table.Pods, false))
	// What the node sends from an address of the pods' range counts as a pod's.
	outsiders := outsiderMatch(l.table.Pods, true)
	output.Rule(outsiders, l.in(setInside), setMark(l.masquerade))
	output.Rule(l.in(setInside), toAlias)
	l.mark(output, outsiders)
	// Whoever else had these addresses before has rules behind ours that lead elsewhere, and no more say.
	prerouting.Rule(l.in(setVirtual), "-j ACCEPT")
	output.Rule(l.in(setVirtual), "-j ACCEPT")
	return append(l.postrouting(), prerouting.Chain, output.Chain)
}

// mark renders whose packets are marked for masquerading.
func (l layout) mark(w *xtables.ChainWriter, outsiders string) {
	w.Rule(l.in(setMasqAll), setMark(l.masquerade))
	w.Rule(outsiders, l.in(setMasqOutside), setMark(l.masquerade))
}

func (l layout) postrouting() []xtables.Chain {
	masquerade := xtables.NewChain(chainMasquerade)
	// The mark goes, or an overlay network that wraps the packet and sends it through here again would see it masqueraded twice.
	masquerade.Rule(clearMark(l.masquerade))
	target, random := "-j MASQUERADE", ""
	if l.table.MasqueradeAddress.IsValid() {
		target = "-j SNAT --to-source " + l.table.MasqueradeAddress.String()
	}
	if l.randomPort {
		random = "--random-fully"
	}
	masquerade.Rule(target, random)
	postrouting := xtables.NewChain(chainPostrouting)
	postrouting.Rule(marked(l.masquerade), "-j", chainMasquerade)
	// The node reaches itself over lo, through no Service.
	postrouting.Rule("! -o lo", l.match(setHairpin, "src,dst"), "-j", chainMasquerade)
	return []xtables.Chain{masquerade.Chain, postrouting.Chain}
}

// filter renders what is refused. What IPVS takes of the node's own packets does not come here.
func (l layout) filter() []xtables.Chain {
	reject := "-j REJECT --reject-with icmp-port-unreachable"
	if l.family == service.IPv6 {
		reject = "-j REJECT --reject-with icmp6-port-unreachable"
	}
	filter := xtables.NewChain(chainFilter)
	filter.Rule(l.in(setReject), reject)
	// IPVS has forgotten the connection, and the kernel cannot say so itself: it has no route from a virtual IP.
	filter.Rule("-p tcp", notSYN, l.in(setVirtual), "-j REJECT --reject-with tcp-reset")
	filter.Rule("-p tcp", toLocal, l.match(setHealth, "dst"), "-j ACCEPT")
	input := xtables.NewChain(chainInput)
	if l.family == service.IPv4 {
		// IPVS needs no route_localnet, but iptables mode may have left it set: then a neighbor on the link could send to the node's
		// loopback address (CVE-2020-8558).
		input.Rule("-d 127.0.0.0/8 ! -i lo -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
	}
	// Clients' packets for IPVS pass here, which in iptables mode they do in FORWARD; the same ones pass whatever the policy is.
	input.Rule("-m conntrack --ctstate RELATED,ESTABLISHED", l.in(setVirtual), "-j ACCEPT")
	input.Rule(stateNew, "-j", chainFilter)
	input.Rule(marked(l.masquerade), "-j ACCEPT")
	output := xtables.NewChain(chainOutput)
	l.cut(output)
	output.Rule(stateNew, "-j", chainFilter)
	forward := xtables.NewChain(chainForward)
	l.cut(forward)
	// Nearly all packets are of connections that stand.
	forward.Rule("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	forward.Rule(stateNew, "-j", chainFilter)
	if l.dropInvalid {
		forward.Rule("-m conntrack --ctstate INVALID -j DROP")
	}
	forward.Rule(marked(l.masquerade), "-j ACCEPT")
	return []xtables.Chain{filter.Chain, input.Chain, forward.Chain, output.Chain}
}

// cut renders that clients learn at once that their connection has been cut: nothing answers at its virtual IP any more. The node's own
// addresses need no rule, as the node's own TCP answers there.
func (l layout) cut(w *xtables.ChainWriter) {
	w.Rule("-p tcp -m conntrack --ctdir ORIGINAL", notSYN, l.in(setReject), l.notIn(setVirtual, "dst,dst"), "-m addrtype ! --dst-type LOCAL", "-j REJECT --reject-with tcp-reset")
}
