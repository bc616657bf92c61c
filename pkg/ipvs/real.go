package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// weights are the real servers of a list, by address.
func weights(list []realServer) map[netip.AddrPort]uint16 {
	m := make(map[netip.AddrPort]uint16, len(list))
	for _, r := range list {
		m[r.address] = r.weight
	}
	return m
}

// putReal makes a virtual server send to just these endpoints. Those that are gone take no new connections, and keep standing ones
// where that makes sense, if the virtual server drains at all.
func (b *Backend) putReal(ctx context.Context, k key, w *wish, endpoints []service.Endpoint, drains bool) error {
	if len(endpoints) > 0 {
		if err := b.ensure(ctx, k, w, len(endpoints)); err != nil {
			return err
		}
	}
	h := b.held.servers[k]
	if h == nil {
		return nil
	}
	var fresh []service.Endpoint
	for _, e := range endpoints {
		old, there := h.real[e.Address]
		switch {
		case !there:
			fresh = append(fresh, e)
		case old != weight(e):
			if err := b.weigh(k, realServer{address: e.Address, weight: weight(e)}); err != nil {
				return err
			}
			h.real[e.Address] = weight(e)
			b.setDrained(k, e.Address)
		}
	}
	for _, e := range shuffled(fresh) {
		err := b.addReal(h, realServer{address: e.Address, weight: weight(e)})
		if errors.Is(err, errRefused) {
			b.tell(ctx, w.port.Name.Service(), "EndpointRefused", fmt.Sprintf("the kernel does not take %s for an endpoint; correct it, the others are served", e.Address))
			continue
		}
		if err != nil {
			return err
		}
	}
	return b.dismiss(h, w, endpoints, drains)
}

// weight is the endpoint's, which is never 0 as long as it is in service.
func weight(e service.Endpoint) uint16 { return max(1, e.Weight) }

func (b *Backend) addReal(h *heldServer, r realServer) error {
	err := b.kernel.servers.AddReal(h.key, r)
	if errors.Is(err, errExists) {
		err = b.kernel.servers.UpdateReal(h.key, r)
	}
	if err != nil {
		return err
	}
	h.real[r.address] = r.weight
	return nil
}

func (b *Backend) weigh(k key, r realServer) error {
	err := b.kernel.servers.UpdateReal(k, r)
	if errors.Is(err, errNotFound) {
		return b.kernel.servers.AddReal(k, r)
	}
	return err
}

// dismiss takes the real servers out of service that are not among the endpoints.
func (b *Backend) dismiss(h *heldServer, w *wish, endpoints []service.Endpoint, drains bool) error {
	for _, address := range h.unwanted(endpoints) {
		if drains && h.real[address] == 0 {
			continue
		}
		if !drains || !b.keeps(w.port, address) {
			if err := b.deleteReal(h, address); err != nil {
				return err
			}
			continue
		}
		if err := b.weigh(h.key, realServer{address: address}); err != nil {
			return err
		}
		h.real[address] = 0
		b.setDraining(h.key, address, b.kernel.now().Add(b.options.Drain))
	}
	return nil
}

// unwanted are the real servers that are not among the endpoints.
func (h *heldServer) unwanted(endpoints []service.Endpoint) []netip.AddrPort {
	var list []netip.AddrPort
	for address := range h.real {
		if _, wanted := slices.BinarySearchFunc(endpoints, address, func(e service.Endpoint, a netip.AddrPort) int { return e.Address.Compare(a) }); !wanted {
			list = append(list, address)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// keeps reports whether an endpoint that is gone keeps its standing connections. The end of a UDP flow cannot be seen, so that only an
// endpoint that says it still serves keeps those. And dh would go on choosing one that is out of service, and so serve nobody.
func (b *Backend) keeps(p *service.Port, address netip.AddrPort) bool {
	if b.options.Drain <= 0 || b.scheduler(p) == "dh" {
		return false
	}
	if p.Name.Protocol != service.UDP {
		return true
	}
	_, serving := slices.BinarySearchFunc(p.Serving, address, netip.AddrPort.Compare)
	return serving
}

func (b *Backend) deleteReal(h *heldServer, address netip.AddrPort) error {
	if err := b.kernel.servers.DeleteReal(h.key, address); err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	delete(h.real, address)
	b.setDrained(h.key, address)
	return nil
}

// retire removes the real servers that are out of service and have no connections left, or had their time.
func (b *Backend) retire(k key, p *service.Port) error {
	h := b.held.servers[k]
	if h == nil || len(b.draining[k]) == 0 {
		return nil
	}
	list, err := b.kernel.servers.ListReal(k)
	if err != nil {
		return err
	}
	connections := make(map[netip.AddrPort]int, len(list))
	for _, r := range list {
		if r.weight == 0 {
			connections[r.address] = r.connections
		}
	}
	now := b.kernel.now()
	for address, until := range maps.Clone(b.draining[k]) {
		left, drains := connections[address]
		if !drains {
			b.setDrained(k, address) // another program has changed it
			continue
		}
		if left == 0 || !now.Before(until) || !b.keeps(p, address) {
			if err := b.deleteReal(h, address); err != nil {
				return err
			}
		}
	}
	return nil
}
