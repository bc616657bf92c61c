package iptables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// jumps lists the ways into our chains.
var jumps = []xtables.Jump{
	{Table: "nat", From: "PREROUTING", To: chainServices},
	{Table: "nat", From: "OUTPUT", To: chainServices},
	{Table: "nat", From: "POSTROUTING", To: chainPostrouting},
	{Table: "filter", From: "INPUT", To: chainInput},
	{Table: "filter", From: "FORWARD", To: chainForward},
	{Table: "filter", From: "OUTPUT", Match: stateNew, To: chainFilter},
}

// layout renders everything but the chains of service ports.
type layout struct {
	family     service.Family
	mark       uint32 // the bit of the packet mark that asks for masquerading
	randomPort bool   // MASQUERADE knows --random-fully
	// dropInvalid and counters: see Options.
	dropInvalid, counters bool
}

func (l layout) setMark() string { return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", l.mark, l.mark) }

// clearMark spells zero as iptables-save does.
func (l layout) clearMark() string { return fmt.Sprintf("-j MARK --set-xmark 0x0/%#x", l.mark) }

func (l layout) marked() string { return fmt.Sprintf("-m mark --mark %#x/%#x", l.mark, l.mark) }

// natChains renders how packets find their service port, children first.
func (l layout) natChains(t *service.Table) []xtables.Chain {
	clusterIPs, externalIPs, nodePorts := natEntries(t)
	cluster := tree{addressShape(l.family, "-d"), prefixClusterTree}
	external := tree{addressShape(l.family, "-d"), prefixExternalTree}
	services := xtables.NewChain(chainServices)
	chains := slices.Concat(
		l.frontends(services, chainClusterIPs, cluster, clusterIPs, cluster.ways(clusterIPs), outsiderMatch(t)),
		l.frontends(services, chainExternalIPs, external, externalIPs, external.ways(externalIPs), ""),
		l.frontends(services, chainNodePorts, tree{keyShape{}, prefixNodePortTree}, nodePorts, l.toNode(t.NodePorts), ""),
	)
	return append(chains, services.Chain)
}

// frontends renders one tree of frontends into a chain of its own, and the ways that lead there into services. Before the tree the
// mark for masquerading is set for the clients that match, and behind it the packets that no frontend wanted lose it again: so it
// costs two rules, and not one for each Service. The mark is invisible outside, as nothing runs in between.
func (l layout) frontends(services *xtables.ChainWriter, name string, t tree, entries []entry, ways []string, clients string) []xtables.Chain {
	if clients == nobody || len(entries) == 0 {
		return branch(services, name, t, entries, ways)
	}
	w := xtables.NewChain(name)
	w.Rule(clients, l.setMark())
	below := t.rules(w, entries)
	w.Rule(l.clearMark())
	for _, match := range ways {
		services.Rule(match, "-j", name)
	}
	return append(below, w.Chain)
}

// branch renders a tree in a chain of its own, and the ways that lead there.
func branch(from *xtables.ChainWriter, name string, t tree, entries []entry, ways []string) []xtables.Chain {
	w := xtables.NewChain(name)
	below := t.rules(w, entries)
	if len(entries) > 0 {
		for _, match := range ways {
			from.Rule(match, "-j", name)
		}
	}
	return append(below, w.Chain)
}

// nobody is a match that is never rendered.
const nobody = "nobody"

// outsiderMatch matches the clients of cluster IPs that have to be masqueraded. All cluster IPs of a Table agree in that.
func outsiderMatch(t *service.Table) string {
	for _, p := range t.Ports {
		for _, f := range p.Frontends {
			if f.Kind != service.ClusterIP {
				continue
			}
			switch f.Masquerade {
			case service.MasqueradeAll:
				return ""
			case service.MasqueradeOutsiders:
				return "! " + xtables.PodMatch(t.Pods)
			}
			return nobody
		}
	}
	return nobody
}

// toNode lists matches for packets to the addresses of the node on which node ports answer.
func (l layout) toNode(n service.NodeAddresses) []string {
	loopback := "127.0.0.0/8"
	if l.family == service.IPv6 {
		loopback = "::1/128"
	}
	var ways []string
	if n.Loopback && l.family == service.IPv4 {
		// To the node itself alone: a neighbor on the link could send there too, with route_localnet.
		ways = append(ways, "-d "+loopback+" -m addrtype --src-type LOCAL")
	}
	if n.All {
		return append(ways, "! -d "+loopback+" -m addrtype --dst-type LOCAL")
	}
	for _, addr := range n.Listed {
		ways = append(ways, "-d "+netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return ways
}

// natEntries lists the frontends by the tree that they belong in. One without endpoints is among them, and accepted as it
// stands, so that no other rule takes the packet before the filter table refuses it.
func natEntries(t *service.Table) (clusterIPs, externalIPs, nodePorts []entry) {
	for _, p := range t.Ports {
		for _, f := range p.Frontends {
			e := entry{frontendKey(f, p.Name.Protocol), natAction(p, f)}
			switch f.Kind {
			case service.ClusterIP:
				clusterIPs = append(clusterIPs, e)
			case service.NodePort:
				nodePorts = append(nodePorts, e)
			default:
				externalIPs = append(externalIPs, e)
			}
		}
	}
	return clusterIPs, externalIPs, nodePorts
}

func frontendKey(f service.Frontend, protocol service.Protocol) key {
	port := portKey(protocol, f.Address.Port())
	if f.Kind == service.NodePort {
		return port
	}
	return addressKey(f.Address.Addr()) + port
}

// postroutingChains renders masquerading. Only this node's own pods can reach themselves through a Service here, and so
// the chain for that has a rule for each of them and not for each endpoint.
func (l layout) postroutingChains(t *service.Table, pods service.Neighbors) []xtables.Chain {
	masquerade := xtables.NewChain(chainMasquerade)
	// The mark goes, or an overlay network that wraps the packet and sends it through here again would see it masqueraded twice.
	masquerade.Rule(l.clearMark())
	target, random := "-j MASQUERADE", ""
	if t.MasqueradeAddress.IsValid() {
		target = "-j SNAT --to-source " + t.MasqueradeAddress.String()
	}
	if l.randomPort {
		random = "--random-fully"
	}
	masquerade.Rule(target, random)
	entries := make([]entry, 0, len(pods))
	for addr := range maps.Keys(pods) {
		host := netip.PrefixFrom(addr, addr.BitLen()).String()
		entries = append(entries, entry{addressKey(addr), "-d " + host + " -j " + chainMasquerade})
	}
	hairpin := xtables.NewChain(chainHairpin)
	below := tree{addressShape(l.family, "-s"), prefixHairpinTree}.rules(hairpin, entries)
	postrouting := xtables.NewChain(chainPostrouting)
	postrouting.Rule(l.marked(), "-j", chainMasquerade)
	if len(pods) > 0 {
		postrouting.Rule("-m conntrack --ctstate DNAT -j", chainHairpin)
	}
	return slices.Concat([]xtables.Chain{masquerade.Chain}, below, []xtables.Chain{hairpin.Chain, postrouting.Chain})
}
