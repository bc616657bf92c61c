package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// frontends lists where a service port wants to answer, sorted, whoever else may want the same.
func (b *Builder) frontends(s *spec, p specPort) []Frontend {
	list := make([]Frontend, 0, len(s.vips)+1)
	for _, v := range s.vips {
		f := Frontend{Kind: v.kind, Address: netip.AddrPortFrom(v.address, p.port), Scope: s.external, Masquerade: b.masquerade(v.kind)}
		switch v.kind {
		case ClusterIP:
			f.Scope = s.internal
		case LoadBalancerIP:
			f.Clients = b.clients(s, v.address)
		}
		list = append(list, f)
	}
	if p.nodePort != 0 {
		list = append(list, Frontend{Kind: NodePort, Address: netip.AddrPortFrom(netip.Addr{}, p.nodePort), Scope: s.external, Masquerade: b.masquerade(NodePort)})
	}
	slices.SortFunc(list, func(x, y Frontend) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), x.Address.Compare(y.Address))
	})
	return slices.CompactFunc(list, Frontend.Equal)
}

// clients says whom a load-balancer IP admits. Where the node itself may use it, packets from that very IP are admitted too:
// a node that has the IP on an interface sends from it.
func (b *Builder) clients(s *spec, vip netip.Addr) []netip.Prefix {
	admitted := slices.ContainsFunc(s.clients, func(r netip.Prefix) bool {
		return slices.ContainsFunc(b.node.Addresses, r.Contains)
	})
	if !admitted {
		return s.clients
	}
	list := append(slices.Clone(s.clients), netip.PrefixFrom(vip, vip.BitLen()))
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// masquerade: a client from outside gets its reply from this node only if the endpoint saw this node's address. Pods have
// a route back of their own when they use a cluster IP, and keep their address.
func (b *Builder) masquerade(kind Kind) Masquerade {
	switch {
	case kind != ClusterIP || b.options.MasqueradeAll:
		return MasqueradeAll
	case b.options.Pods.Known():
		return MasqueradeOutsiders
	default:
		return MasqueradeHairpin
	}
}

// wanted compiles a service without regard to what others claim.
func (b *Builder) wanted(s *spec) []*Port {
	if s == nil {
		return nil
	}
	ports := make([]*Port, 0, len(s.ports))
	for _, p := range s.ports {
		name := PortName{s.name.Namespace, s.name.Name, p.name, p.protocol}
		if slices.ContainsFunc(ports, func(o *Port) bool { return o.Name == name }) {
			continue // the API refuses it; the first one counts
		}
		ports = append(ports, &Port{Name: name, Created: s.created, Frontends: b.frontends(s, p), Affinity: s.affinity, Scheduling: s.scheduling})
	}
	return ports
}

// compile makes the ports of a service as they go into the Table, sorted by name.
func (b *Builder) compile(s *service) (ports []*Port, problems []Problem) {
	for _, w := range s.wanted {
		port := &Port{Name: w.Name, Created: w.Created, Affinity: w.Affinity, Scheduling: w.Scheduling}
		found := gather(s.slices, w.Name, b.node.Zone, s.spec.weights)
		port.Endpoints = found.cluster()
		if slices.ContainsFunc(w.Frontends, func(f Frontend) bool { return f.Scope != Cluster }) {
			port.Local = found.local()
		}
		if w.Name.Protocol == UDP {
			port.Serving = found.serving()
		}
		for _, f := range w.Frontends {
			held, _ := b.claims.holder(addressOf(f, w.Name.Protocol))
			if held.port.Name == w.Name && held.kind == f.Kind {
				f.WithoutEndpoints = Reject
				if f.Scope != Cluster && len(port.Endpoints) > 0 {
					f.WithoutEndpoints = Drop // other nodes have some: whoever chose this one shall choose again
				}
				port.Frontends = append(port.Frontends, f)
			} else if held.port.Name != w.Name {
				problems = append(problems, claimProblem(w.Name, f, held))
			}
		}
		ports = append(ports, port)
	}
	slices.SortFunc(ports, func(x, y *Port) int { return x.Name.Compare(y.Name) })
	return ports, problems
}

func claimProblem(name PortName, f Frontend, holder claim) Problem {
	return Problem{
		Object: "Service " + name.Service().String(),
		What: fmt.Sprintf("%s %s belongs to Service %s, which has it as its %s",
			f.Kind, addressOf(f, name.Protocol), holder.service(), holder.kind),
		Mend: "give one of the two another address or port: a cluster IP goes before other addresses, then the older Service before the younger",
	}
}

// service is all that the Builder keeps of one Service.
type service struct {
	spec     *spec // nil: only slices have been seen
	slices   map[string]*endpointSlice
	wanted   []*Port // what it asks for: frontends without endpoints
	ports    []*Port // what it got: as in the Table
	problems []Problem
	stale    bool // spec has changed since wanted was made
}

func (s *service) empty() bool {
	return s.spec == nil && len(s.slices) == 0 && len(s.wanted) == 0 && len(s.ports) == 0
}

// serviceName is the key of services everywhere in this package.
type serviceName = types.NamespacedName
