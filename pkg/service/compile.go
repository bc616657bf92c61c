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
		list = append(list, Frontend{
			Kind:             v.kind,
			Address:          netip.AddrPortFrom(v.address, p.port),
			Masquerade:       b.masquerade(v.kind),
			WithoutEndpoints: Reject,
		})
	}
	if p.nodePort != 0 {
		list = append(list, Frontend{
			Kind:             NodePort,
			Address:          netip.AddrPortFrom(netip.Addr{}, p.nodePort),
			Masquerade:       b.masquerade(NodePort),
			WithoutEndpoints: Reject,
		})
	}
	slices.SortFunc(list, func(x, y Frontend) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), x.Address.Compare(y.Address))
	})
	return slices.Compact(list)
}

// masquerade: a client from outside gets its reply from this node only if the endpoint saw this node's address. Pods have
// a route back of their own when they use a cluster IP, and keep their address.
func (b *Builder) masquerade(kind Kind) Masquerade {
	switch {
	case kind != ClusterIP || b.options.MasqueradeAll:
		return MasqueradeAll
	case b.options.Pods.IsValid():
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
		ports = append(ports, &Port{Name: name, Frontends: b.frontends(s, p)})
	}
	return ports
}

// compile makes the ports of a service as they go into the Table, sorted by name.
func (b *Builder) compile(s *service) (ports []*Port, problems []Problem) {
	for _, w := range s.wanted {
		port := &Port{Name: w.Name, Endpoints: endpoints(s.slices, w.Name)}
		for i, f := range w.Frontends {
			held, _ := b.claims.holder(addressOf(f, w.Name.Protocol))
			if held.name == w.Name && held.kind == f.Kind {
				port.Frontends = append(port.Frontends, w.Frontends[i])
			} else if held.name != w.Name {
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
			f.Kind, addressOf(f, name.Protocol), holder.name.Service(), holder.kind),
		Mend: "give one of the two another address or port: a cluster IP goes before other addresses, then the older Service before the younger",
	}
}

// endpoints gathers the endpoints of a service port from all slices. A pod that is being replaced may stand in two slices
// at once, and a pod's address may go to a new pod before the old one has left its slice: of one address, the entry that
// is not terminating counts, and of those the one that is ready.
func endpoints(slicesByName map[string]*endpointSlice, name PortName) []Endpoint {
	type found struct {
		Endpoint
		ready, terminating bool
	}
	var all []found
	for _, s := range slicesByName {
		for _, p := range s.ports {
			if p.name != name.Port || p.protocol != name.Protocol {
				continue
			}
			for _, e := range s.endpoints {
				all = append(all, found{Endpoint{netip.AddrPortFrom(e.address, p.port), e.place}, e.ready, e.terminating})
			}
		}
	}
	slices.SortFunc(all, func(x, y found) int {
		return cmp.Or(x.Address.Compare(y.Address), compareBool(x.terminating, y.terminating),
			compareBool(y.ready, x.ready), cmp.Compare(y.Place, x.Place))
	})
	all = slices.CompactFunc(all, func(x, y found) bool { return x.Address == y.Address })
	list := make([]Endpoint, 0, len(all))
	for _, e := range all {
		if e.ready {
			list = append(list, e.Endpoint)
		}
	}
	return list
}

// compareBool orders false before true.
func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	default:
		return 1
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
