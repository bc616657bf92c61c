package iptables

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// syncAll writes every chain that is not in the kernel as it should be, and removes those of ours that should not be there.
func (b *Backend) syncAll(ctx context.Context, table *service.Table) error {
	have, err := b.read(ctx)
	if err != nil {
		return err
	}
	b.written = have.chains
	b.neighbors = map[netip.Addr]int{}
	var nat []chain
	for _, p := range table.Ports {
		nat = append(nat, serviceChains(p)...)
		b.countNeighbors(p, 1)
	}
	dispatch := b.dispatchChains(table)
	b.dispatch = names(dispatch)
	b.rejects = rejectEntries(table, b.layout.rejectAction())
	filter := b.plan("filter", b.layout.filterChains(b.rejects), b.held("filter"))
	nats := b.plan("nat", append(nat, dispatch...), b.held("nat"))
	for _, j := range jumps {
		switch {
		case have.hasJump(j):
		case j.table == "nat":
			nats.jumps = append(nats.jumps, j)
		default:
			filter.jumps = append(filter.jumps, j)
		}
	}
	return b.restore(ctx, filter, nats)
}

// syncPorts writes what has changed in the given service ports, taking for granted that the kernel holds what was last
// written.
func (b *Backend) syncPorts(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var nat []chain
	var old []string
	var moved, pods bool // frontends, or this node's pods, are not the same as before
	for _, name := range slices.SortedFunc(maps.Keys(dirty), service.PortName.Compare) {
		was, is := b.table.Port(name), table.Port(name)
		old = append(old, names(serviceChains(was))...)
		nat = append(nat, serviceChains(is)...)
		pods = b.countNeighbors(was, -1) || pods
		pods = b.countNeighbors(is, 1) || pods
		moved = moved || !sameFrontends(was, is)
	}
	if moved || pods {
		chains := b.dispatchChains(table)
		nat, old = append(nat, chains...), append(old, b.dispatch...)
		b.dispatch = names(chains)
	}
	if !moved {
		return b.restore(ctx, b.plan("nat", nat, old))
	}
	// A service port that loses its last endpoint, or gets its first, is in one table or the other at every moment: what is
	// refused comes before the nat table changes, and what is no longer refused goes after it.
	refused := rejectEntries(table, b.layout.rejectAction())
	before := b.plan("filter", b.layout.filterChains(union(refused, b.rejects)), nil)
	between := b.plan("nat", nat, old)
	after := b.plan("filter", b.layout.filterChains(refused), b.held("filter"))
	b.rejects = refused
	return b.restore(ctx, before, between, after)
}

// dispatchChains renders what of the nat table belongs to no service port alone.
func (b *Backend) dispatchChains(table *service.Table) []chain {
	return append(b.layout.postroutingChains(b.neighbors), b.layout.natChains(table)...)
}

// sameFrontends reports whether two states of a service port are found in the same way.
func sameFrontends(was, is *service.Port) bool {
	if was == nil || is == nil {
		return was == is
	}
	return slices.Equal(was.Frontends, is.Frontends) && (len(was.Endpoints) == 0) == (len(is.Endpoints) == 0)
}

// countNeighbors counts a service port's endpoints that may be this node's, and says whether there were any.
func (b *Backend) countNeighbors(p *service.Port, by int) (found bool) {
	if p == nil {
		return false
	}
	for _, e := range p.Endpoints {
		if !e.MayBeHere() {
			continue
		}
		found = true
		addr := e.Address.Addr()
		if b.neighbors[addr] += by; b.neighbors[addr] == 0 {
			delete(b.neighbors, addr)
		}
	}
	return found
}
