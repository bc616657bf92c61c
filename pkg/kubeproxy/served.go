package kubeproxy

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// Served reports whether Fairlead itself has a virtual server there; nil: it has none.
type Served func(service.Protocol, netip.AddrPort) bool

// ServedByIPVS returns where Fairlead's IPVS mode has the virtual servers of a Table.
func ServedByIPVS(table *service.Table) Served {
	type place struct {
		protocol service.Protocol
		address  netip.AddrPort
	}
	virtual := map[place]bool{}
	nodePorts := map[place]bool{} // without an address
	for _, p := range table.Ports {
		for _, f := range p.Frontends {
			if f.Kind == service.NodePort {
				nodePorts[place{p.Name.Protocol, netip.AddrPortFrom(netip.Addr{}, f.Address.Port())}] = true
			} else {
				virtual[place{p.Name.Protocol, f.Address}] = true
			}
		}
	}
	return func(protocol service.Protocol, at netip.AddrPort) bool {
		return virtual[place{protocol, at}] ||
			nodePorts[place{protocol, netip.AddrPortFrom(netip.Addr{}, at.Port())}] && slices.Contains(table.NodePorts.Listed, at.Addr())
	}
}
