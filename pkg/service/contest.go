package service

import (
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// outcome is what has come of an address that two Services claim, for one of them.
type outcome uint8

const (
	lost     outcome = iota // the other one has it
	held                    // the other one claims it too
	covers                  // an address of the node, where the other one's node port does not answer because of it
	reserved                // it is the API server's
	shadowed                // a node port that does not answer on an address of the node, which the other one has
)

// contests are the addresses of one Service that others claim too. There is one problem for each outcome and other Service, however
// many addresses the two have in common.
type contests struct {
	list []contest
	more int // addresses that are contested by Services which are not in the list
}

type contest struct {
	outcome outcome
	other   types.NamespacedName
	port    *Port // the first one, with its frontend
	front   Frontend
	rival   claim
	count   int
}

func (c *contests) add(o outcome, p *Port, f Frontend, rival claim) {
	at := slices.IndexFunc(c.list, func(known contest) bool { return known.outcome == o && known.other == rival.service() })
	switch {
	case at >= 0:
		c.list[at].count++
	case len(c.list) == maxProblems:
		c.more++
	default:
		c.list = append(c.list, contest{o, rival.service(), p, f, rival, 1})
	}
}

// problems returns what to say about the contests of a Service.
func (c *contests) problems(svc types.NamespacedName) []Problem {
	const mend = "give one of the two Services another address or port: cluster IPs go first, then load-balancer IPs, then external IPs, " +
		"and among those of one kind the older Service"
	all := problems{object: "Service " + svc.String()}
	for _, one := range c.list {
		all.add(mend, "%s", one)
	}
	if c.more > 0 {
		all.list = append(all.list, Problem{all.object, fmt.Sprintf("and %d more addresses that other Services claim too", c.more), mend})
	}
	return all.list
}

func (c contest) String() string {
	place := fmt.Sprintf("%s %s", c.front.Kind, addressOf(c.front, c.port.Name.Protocol))
	if c.front.Kind == NodePort {
		place = addressOf(c.front, c.port.Name.Protocol).String()
	}
	if c.count > 1 {
		place += fmt.Sprintf(" (and %d more)", c.count-1)
	}
	switch c.outcome {
	case lost:
		return fmt.Sprintf("%s belongs to Service %s, which has it as its %s", place, c.other, c.rival.kind)
	case held:
		return fmt.Sprintf("%s is also claimed by Service %s, which does not get it", place, c.other)
	case reserved:
		return fmt.Sprintf("%s is the address by which this node reaches the API server, and is not served", place)
	case covers:
		return fmt.Sprintf("%s is an address of the node, and goes before the node port of Service %s there", place, c.other)
	default:
		return fmt.Sprintf("%s does not answer on an address of the node, which Service %s has as its %s", place, c.other, c.rival.kind)
	}
}

// settle reports whether a service port has the address of one of its frontends, and notes which other Services want it.
func (b *Builder) settle(p *Port, f Frontend, c *contests) bool {
	if f.Kind == ExternalIP && f.Address == b.options.APIServer && p.Name.Protocol == TCP {
		c.add(reserved, p, f, claim{p, f.Kind})
		return false
	}
	list := b.claims[addressOf(f, p.Name.Protocol)]
	if holder := list[0]; holder.port != p {
		c.add(lost, p, f, holder)
		return false
	}
	if len(list) > 1 {
		c.add(held, p, f, list[1])
	}
	result := covers
	if f.Kind == NodePort {
		result = shadowed
	}
	for _, rival := range b.sharesNode(f, p.Name) {
		c.add(result, p, f, rival)
	}
	return true
}

// sharesNode lists the service ports of other Services that have the same port number on an address of the node: for a node port, those
// with an external or load-balancer IP there, and for such a one, the one with the node port.
func (b *Builder) sharesNode(f Frontend, name PortName) (rivals []claim) {
	note := func(ip netip.Addr) {
		rival, ok := b.claims.holder(address{ip, f.Address.Port(), name.Protocol})
		if ok && rival.service() != name.Service() {
			rivals = append(rivals, rival)
		}
	}
	switch f.Kind {
	case NodePort:
		for _, ip := range b.node.Addresses {
			note(ip)
		}
	case ExternalIP, LoadBalancerIP:
		if slices.Contains(b.node.Addresses, f.Address.Addr()) {
			note(netip.Addr{})
		}
	}
	return rivals
}
