package iptables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// jump is a rule in a built-in chain that leads into ours.
type jump struct {
	table, from string
	match       []string
	to          string
}

// jumps lists the ways into our chains. Only the first packet of a connection sees the nat table; in filter the match does
// the same, so that established connections pass one rule.
var jumps = []jump{
	{"nat", "PREROUTING", nil, chainServices},
	{"nat", "OUTPUT", nil, chainServices},
	{"nat", "POSTROUTING", nil, chainPostrouting},
	{"filter", "INPUT", []string{"-m", "conntrack", "--ctstate", "NEW"}, chainFilter},
	{"filter", "FORWARD", []string{"-m", "conntrack", "--ctstate", "NEW"}, chainFilter},
	{"filter", "OUTPUT", []string{"-m", "conntrack", "--ctstate", "NEW"}, chainFilter},
}

// layout renders everything but the chains of service ports.
type layout struct {
	family     service.Family
	mark       uint32 // the bit of the packet mark that asks for masquerading
	randomPort bool   // MASQUERADE knows --random-fully
}

func (l layout) setMark() string { return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", l.mark, l.mark) }

// clearMark spells zero as iptables-save does.
func (l layout) clearMark() string { return fmt.Sprintf("-j MARK --set-xmark 0x0/%#x", l.mark) }

func (l layout) marked() string { return fmt.Sprintf("-m mark --mark %#x/%#x", l.mark, l.mark) }

// natChains renders how packets find their service port, children first.
func (l layout) natChains(t *service.Table) []chain {
	addresses := addressShape(l.family, "-d")
	clusterIPs, externalIPs, nodePorts := natEntries(t)
	services := newChain(chainServices)
	chains := l.frontends(services, chainClusterIPs, tree{addresses, prefixClusterTree}, clusterIPs, outsiderMatch(t))
	chains = append(chains, l.frontends(services, chainExternalIPs, tree{addresses, prefixExternalTree}, externalIPs, "")...)
	chains = append(chains, l.frontends(services, chainNodePorts, tree{keyShape{}, prefixNodePortTree}, nodePorts, "")...)
	return append(chains, services.chain)
}

// frontends renders one tree of frontends into a chain of its own, and the rule that leads there into services. Before the
// tree the mark for masquerading is set for the clients that match, and behind it the packets that no frontend wanted lose
// it again: so it costs two rules, and not one for each Service. The mark is invisible outside, as nothing runs in between.
func (l layout) frontends(services *chainWriter, name string, t tree, entries []entry, clients string) []chain {
	w := newChain(name)
	if len(entries) == 0 {
		return []chain{w.chain}
	}
	marks := clients != nobody
	if marks {
		w.rule(clients, l.setMark())
	}
	below := t.rules(w, entries)
	if marks {
		w.rule(l.clearMark())
	}
	if name == chainNodePorts {
		services.rule(l.toNode(), "-j", name)
	} else {
		services.rule(t.guard(entries), "-j", name)
	}
	return append(below, w.chain)
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
				if t.Pods.Bits() > 0 { // nft refuses "! -s 0.0.0.0/0"
					return "! -s " + t.Pods.Masked().String()
				}
			}
			return nobody
		}
	}
	return nobody
}

// toNode matches packets to an address of the node, but loopback: a packet from there cannot leave the node.
func (l layout) toNode() string {
	loopback := "127.0.0.0/8"
	if l.family == service.IPv6 {
		loopback = "::1/128"
	}
	return "! -d " + loopback + " -m addrtype --dst-type LOCAL"
}

// natEntries lists the frontends by the tree that they belong in. One without endpoints is among them, and accepted as it
// stands, so that no other rule takes the packet before the filter table refuses it.
func natEntries(t *service.Table) (clusterIPs, externalIPs, nodePorts []entry) {
	for _, p := range t.Ports {
		action := "-j ACCEPT"
		if len(p.Endpoints) > 0 {
			action = "-g " + serviceChain(p.Name)
		}
		for _, f := range p.Frontends {
			e := entry{frontendKey(f, p.Name.Protocol), action}
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

// rejectEntry is a frontend without endpoints.
type rejectEntry struct {
	entry
	nodePort bool
}

// rejectEntries lists the frontends that have no endpoint, sorted.
func rejectEntries(t *service.Table, reject string) []rejectEntry {
	var list []rejectEntry
	for _, p := range t.Ports {
		if len(p.Endpoints) > 0 {
			continue
		}
		for _, f := range p.Frontends {
			action := reject
			if f.WithoutEndpoints == service.Drop {
				action = "-j DROP"
			}
			list = append(list, rejectEntry{entry{frontendKey(f, p.Name.Protocol), action}, f.Kind == service.NodePort})
		}
	}
	return sortRejects(list)
}

// rejectAction spells out the default as iptables-save does.
func (l layout) rejectAction() string {
	if l.family == service.IPv6 {
		return "-j REJECT --reject-with icmp6-port-unreachable"
	}
	return "-j REJECT --reject-with icmp-port-unreachable"
}

// filterChains renders the refusal of what has no endpoint, children first. By then the nat table has given every packet
// with an endpoint that endpoint's address.
func (l layout) filterChains(rejects []rejectEntry) []chain {
	var addresses, ports []entry
	for _, r := range rejects {
		if r.nodePort {
			ports = append(ports, r.entry)
		} else {
			addresses = append(addresses, r.entry)
		}
	}
	filter := newChain(chainFilter)
	var chains []chain
	for _, part := range []struct {
		name    string
		tree    tree
		entries []entry
		match   string
	}{
		{chainNoEndpoints, tree{addressShape(l.family, "-d"), prefixRejectTree}, addresses, ""},
		{chainNoNodePorts, tree{keyShape{}, prefixNodePortTree}, ports, l.toNode()},
	} {
		w := newChain(part.name)
		if len(part.entries) > 0 {
			match := part.match
			if match == "" {
				match = part.tree.guard(part.entries)
			}
			filter.rule(match, "-j", part.name)
		}
		chains = append(chains, part.tree.rules(w, part.entries)...)
		chains = append(chains, w.chain)
	}
	return append(chains, filter.chain)
}

// postroutingChains renders masquerading. Only this node's own pods can reach themselves through a Service here, and so
// the chain for that has a rule for each of them and not for each endpoint.
func (l layout) postroutingChains(pods map[netip.Addr]int) []chain {
	masquerade := newChain(chainMasquerade)
	// The mark goes, or an overlay network that wraps the packet and sends it through here again would see it masqueraded twice.
	masquerade.rule(l.clearMark())
	if l.randomPort {
		masquerade.rule("-j MASQUERADE --random-fully")
	} else {
		masquerade.rule("-j MASQUERADE")
	}
	entries := make([]entry, 0, len(pods))
	for addr := range maps.Keys(pods) {
		host := netip.PrefixFrom(addr, addr.BitLen()).String()
		entries = append(entries, entry{addressKey(addr), "-d " + host + " -j " + chainMasquerade})
	}
	hairpin := newChain(chainHairpin)
	below := tree{addressShape(l.family, "-s"), prefixHairpinTree}.rules(hairpin, entries)
	postrouting := newChain(chainPostrouting)
	postrouting.rule(l.marked(), "-j", chainMasquerade)
	if len(pods) > 0 {
		postrouting.rule("-m conntrack --ctstate DNAT -j", chainHairpin)
	}
	return slices.Concat([]chain{masquerade.chain}, below, []chain{hairpin.chain, postrouting.chain})
}
