package service

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// frontends lists where a service port wants to answer, sorted, whoever else may want the same. Clients are those of load-balancer IPs.
func (b *Builder) frontends(s *spec, p specPort, clients map[netip.Addr][]netip.Prefix) []Frontend {
	list := make([]Frontend, 0, len(s.vips)+1)
	for _, v := range s.vips {
		f := Frontend{Kind: v.kind, Address: netip.AddrPortFrom(v.address, p.port), Scope: s.external, Masquerade: b.masquerade(v.kind)}
		switch v.kind {
		case ClusterIP:
			f.Scope = s.internal
		case LoadBalancerIP:
			f.Clients = clients[v.address]
		}
		list = append(list, f)
	}
	if p.nodePort != 0 {
		list = append(list, Frontend{Kind: NodePort, Address: netip.AddrPortFrom(netip.Addr{}, p.nodePort), Scope: s.external, Masquerade: b.masquerade(NodePort)})
	}
	return list
}

// clients says whom each load-balancer IP admits; nil: everybody. Where the node itself may use an IP, packets from that very IP are
// admitted too: a node that has the IP on an interface sends from it.
func (b *Builder) clients(s *spec) map[netip.Addr][]netip.Prefix {
	if s.clients == nil {
		return nil
	}
	admitted := slices.ContainsFunc(s.clients, func(r netip.Prefix) bool {
		return slices.ContainsFunc(b.node.Addresses, r.Contains)
	})
	clients := map[netip.Addr][]netip.Prefix{}
	for _, v := range s.vips {
		if v.kind != LoadBalancerIP {
			continue
		}
		list := s.clients
		if admitted {
			list = append(slices.Clone(list), netip.PrefixFrom(v.address, v.address.BitLen()))
			slices.SortFunc(list, netip.Prefix.Compare)
			list = slices.Compact(list)
		}
		clients[v.address] = list
	}
	return clients
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
	clients := b.clients(s)
	ports := make([]*Port, 0, len(s.ports))
	for _, p := range s.ports {
		name := PortName{s.name.Namespace, s.name.Name, p.name, p.protocol}
		ports = append(ports, &Port{Name: name, Created: s.created, Frontends: b.frontends(s, p, clients), Affinity: s.affinity, Scheduling: s.scheduling})
	}
	return ports
}

// compile makes the ports of a service as they go into the Table, sorted by name.
func (b *Builder) compile(s *service) (ports []*Port, contested contests) {
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
			if !b.settle(w, f, &contested) {
				continue
			}
			f.WithoutEndpoints = Reject
			if f.Scope != Cluster && len(port.Endpoints) > 0 {
				f.WithoutEndpoints = Drop // other nodes have some: whoever chose this one shall choose again
			}
			port.Frontends = append(port.Frontends, f)
		}
		ports = append(ports, port)
	}
	slices.SortFunc(ports, func(x, y *Port) int { return x.Name.Compare(y.Name) })
	return ports, contested
}

// service is all that the Builder keeps of one Service.
type service struct {
	spec     *spec // nil: only slices have been seen
	slices   map[string]*endpointSlice
	wanted   []*Port              // what it asks for: frontends without endpoints
	ports    []*Port              // what it got: as in the Table
	problems map[Problem]struct{} // as they were last told; nil if there are none
	stale    bool                 // spec has changed since wanted was made
}

func (s *service) empty() bool {
	return s.spec == nil && len(s.slices) == 0 && len(s.wanted) == 0 && len(s.ports) == 0
}

// serviceName is the key of services everywhere in this package.
type serviceName = types.NamespacedName
