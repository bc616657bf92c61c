package iptables

import (
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// refusal is what the filter table does with packets for one frontend, which the nat table has not sent to an endpoint.
type refusal struct {
	entry
	nodePort bool
}

func compareRefusals(x, y refusal) int { return compareEntries(x.entry, y.entry) }

// union returns what is in either of two sorted lists; where both have a key, the entry of the first.
func union(first, second []refusal) []refusal {
	all := slices.Concat(first, second)
	slices.SortStableFunc(all, compareRefusals)
	return slices.CompactFunc(all, func(x, y refusal) bool { return x.key == y.key })
}

// refusals lists the frontends that some packets are not let into, sorted.
func (l layout) refusals(t *service.Table) []refusal {
	var list []refusal
	for _, p := range t.Ports {
		for _, f := range p.Frontends {
			if action := l.refusal(p, f); action != "" {
				list = append(list, refusal{entry{frontendKey(f, p.Name.Protocol), action}, f.Kind == service.NodePort})
			}
		}
	}
	slices.SortFunc(list, compareRefusals)
	return list
}

// refusal is the filter table's action for a packet to a frontend that the nat table has left as it is; empty if there is none.
func (l layout) refusal(p *service.Port, f service.Frontend) string {
	switch filterAction(p, f) {
	case service.Reject:
		return l.reject()
	case service.Drop:
		return "-j DROP"
	}
	return ""
}

// reject spells out the default as iptables-save does.
func (l layout) reject() string {
	if l.family == service.IPv6 {
		return "-j REJECT --reject-with icmp6-port-unreachable"
	}
	return "-j REJECT --reject-with icmp-port-unreachable"
}

const stateNew = "-m conntrack --ctstate NEW"

// filterChains renders the filter table, children first. By then the nat table has given every packet with an endpoint that
// endpoint's address.
func (l layout) filterChains(t *service.Table, refused []refusal) []xtables.Chain {
	var addresses, ports, checks []entry
	for _, r := range refused {
		if r.nodePort {
			ports = append(ports, r.entry)
		} else {
			addresses = append(addresses, r.entry)
		}
	}
	for _, c := range t.HealthChecks {
		checks = append(checks, entry{portKey(service.TCP, c.Port), "-j ACCEPT"})
	}
	slices.SortFunc(checks, compareEntries)
	checks = slices.CompactFunc(checks, func(x, y entry) bool { return x.key == y.key })
	filter := xtables.NewChain(chainFilter)
	virtual := tree{addressShape(l.family, "-d"), prefixRejectTree}
	chains := slices.Concat(
		branch(filter, chainNoEndpoints, virtual, addresses, virtual.ways(addresses)),
		branch(filter, chainNoNodePorts, tree{keyShape{}, prefixNodePortTree}, ports, l.toNode(t.NodePorts)),
		branch(filter, chainHealthChecks, tree{keyShape{}, prefixHealthTree}, checks, []string{"-m addrtype --dst-type LOCAL"}),
	)
	return append(chains, filter.Chain, l.inputChain(), l.forwardChain())
}

// inputChain renders what happens to packets for the node itself. With route_localnet, which node ports on 127.0.0.1 need, a
// neighbor on the link could send to the node's loopback address (CVE-2020-8558): nobody else than the node itself may, unless it
// is a reply or the kernel has changed the destination. The rule is always there, as the setting may have outlived the node ports
// that needed it; without the setting the kernel drops such packets itself.
func (l layout) inputChain() xtables.Chain {
	w := xtables.NewChain(chainInput)
	if l.family == service.IPv4 {
		w.Rule("-d 127.0.0.0/8 ! -i lo -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
	}
	w.Rule(stateNew, "-j", chainFilter)
	return w.Chain
}

// forwardChain renders what happens to packets of others. Those of connections that stand, and those that are masqueraded, pass
// whatever the policy of the chain is; the former are nearly all packets, so they come first. INVALID ones are dropped where that is wanted: a late packet that conntrack does not know
// would reach its client with the endpoint's address, and be answered by a reset (kubernetes#74839).
func (l layout) forwardChain() xtables.Chain {
	w := xtables.NewChain(chainForward)
	w.Rule("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	w.Rule(stateNew, "-j", chainFilter)
	if l.dropInvalid {
		w.Rule("-m conntrack --ctstate INVALID -j DROP")
	}
	w.Rule(l.marked(), "-j ACCEPT")
	return w.Chain
}
