package service

import "cmp"

// Claim is a service port's claim on something that only one can have: an address and port, or what a backend derives from one.
type Claim struct {
	Kind    Kind
	Created int64 // as in Port
	Port    PortName
}

// Claim returns the claim that a frontend of the port makes.
func (p *Port) Claim(f Frontend) Claim { return Claim{f.Kind, p.Created, p.Name} }

// Compare orders claims: the first one gets what they compete for. What only the control plane assigns goes first: cluster IPs, then
// load-balancer IPs, which are in a Service's status. External IPs come after both, since anyone who may write a Service may write any
// address into it (CVE-2020-8554). Among claims of one kind the older Service goes first, and the name decides where two are of the same
// second.
//
// The age of a Service does not say which one has had the address for longer. Nodes share no state and lose theirs when they restart, so
// each of them must be able to decide by the objects alone, or they would not agree.
func (c Claim) Compare(o Claim) int {
	return cmp.Or(cmp.Compare(c.Kind.rank(), o.Kind.rank()), cmp.Compare(c.Created, o.Created), c.Port.Compare(o.Port))
}

// rank is the place of a kind of frontend among claims.
func (k Kind) rank() int {
	switch k {
	case ClusterIP:
		return 0
	case LoadBalancerIP:
		return 1
	case ExternalIP:
		return 2
	default:
		return 3 // a node port; it has no IP, and so it competes with other node ports only
	}
}
