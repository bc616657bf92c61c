package conntrack

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// concerns reports whether a change of a port can have left a wrong flow behind. Either may be nil. An endpoint that comes
// beside others leaves none, nor does one that goes over TCP: the connections to it end by themselves.
func concerns(was, is *service.Port, unrepliedTCP bool) bool {
	if is != nil && slices.ContainsFunc(is.Frontends, func(f service.Frontend) bool {
		return served(is, f) && !servedAt(was, f.Address)
	}) {
		return true
	}
	if was == nil || !followed(was.Name.Protocol, unrepliedTCP) {
		return false
	}
	had := endpoints(was)
	return slices.ContainsFunc(had, func(e netip.AddrPort) bool { return !keeps(is, e) }) ||
		len(had) > 0 && slices.ContainsFunc(was.Frontends, func(f service.Frontend) bool { return !answersAt(is, f.Address) })
}

// followed reports whether flows of a protocol are deleted when their endpoint is gone.
func followed(p service.Protocol, unrepliedTCP bool) bool {
	return p == service.UDP || p == service.TCP && unrepliedTCP
}

// keeps reports whether flows through a port that go to an endpoint are left alone. It is not asked whether new ones would go
// there: traffic policies and topology are for these alone. An endpoint that gets new flows without saying that it serves
// (publishNotReadyAddresses) keeps its flows all the same.
func keeps(p *service.Port, endpoint netip.AddrPort) bool {
	if p == nil {
		return false
	}
	if _, serves := slices.BinarySearchFunc(p.Serving, endpoint, netip.AddrPort.Compare); serves {
		return true
	}
	return slices.ContainsFunc([][]service.Endpoint{p.Endpoints, p.Local}, func(list []service.Endpoint) bool {
		_, found := slices.BinarySearchFunc(list, endpoint, func(e service.Endpoint, a netip.AddrPort) int { return e.Address.Compare(a) })
		return found
	})
}

// endpoints lists who may have flows through a port; some twice.
func endpoints(p *service.Port) []netip.AddrPort {
	list := slices.Clone(p.Serving)
	for _, e := range slices.Concat(p.Endpoints, p.Local) {
		list = append(list, e.Address)
	}
	return list
}

// served reports whether a frontend of a port sends to an endpoint, for some clients at least.
func served(p *service.Port, f service.Frontend) bool {
	switch f.Scope {
	case service.Cluster:
		return len(p.Endpoints) > 0
	case service.Node:
		return len(p.Local) > 0
	default:
		return len(p.Endpoints) > 0 || len(p.Local) > 0
	}
}

func servedAt(p *service.Port, address netip.AddrPort) bool {
	return p != nil && slices.ContainsFunc(p.Frontends, func(f service.Frontend) bool { return f.Address == address && served(p, f) })
}

func answersAt(p *service.Port, address netip.AddrPort) bool {
	return p != nil && slices.ContainsFunc(p.Frontends, func(f service.Frontend) bool { return f.Address == address })
}
