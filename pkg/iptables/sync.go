package iptables

import (
	"context"
	"maps"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// syncAll writes every chain that is not in the kernel as it should be, and removes those of ours that should not be there.
func (b *Backend) syncAll(ctx context.Context, table *service.Table) error {
	if err := b.rules.Read(ctx); err != nil {
		return err
	}
	b.refusals = b.layout.heldRefusals(b.rules.Text("filter"))
	b.neighbors = service.Neighbors{}
	var nat []xtables.Chain
	for _, p := range table.Ports {
		nat = append(nat, b.layout.portChains(table, p)...)
	}
	b.neighbors.Change(nil, table.Ports)
	postrouting, dispatch := b.layout.postroutingChains(table, b.neighbors), b.layout.natChains(table)
	b.postrouting, b.dispatch = xtables.Names(postrouting), xtables.Names(dispatch)
	return b.rules.Write(ctx, b.planRefusals(table, func() xtables.Section {
		return b.rules.Plan("nat", slices.Concat(nat, postrouting, dispatch), b.rules.Held("nat"))
	})...)
}

// syncPorts writes what has changed in the given service ports, taking for granted that the kernel holds what was last
// written.
func (b *Backend) syncPorts(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var nat []xtables.Chain
	var old []string
	moved := false // ways in are not the same as before
	hairpins := false
	for _, name := range slices.SortedFunc(maps.Keys(dirty), service.PortName.Compare) {
		was, is := b.table.Port(name), table.Port(name)
		old = append(old, xtables.Names(b.layout.portChains(b.table, was))...)
		nat = append(nat, b.layout.portChains(table, is)...)
		come, gone := b.neighbors.Change([]*service.Port{was}, []*service.Port{is})
		hairpins = hairpins || len(come)+len(gone) > 0
		moved = moved || !sameFrontends(was, is)
	}
	if hairpins {
		postrouting := b.layout.postroutingChains(table, b.neighbors)
		nat, old = append(nat, postrouting...), append(old, b.postrouting...)
		b.postrouting = xtables.Names(postrouting)
	}
	if moved {
		dispatch := b.layout.natChains(table)
		nat, old = append(nat, dispatch...), append(old, b.dispatch...)
		b.dispatch = xtables.Names(dispatch)
	}
	plan := func() xtables.Section { return b.rules.Plan("nat", nat, old) }
	if !moved && sameHealthPorts(b.table, table) {
		return b.rules.Write(ctx, plan())
	}
	return b.rules.Write(ctx, b.planRefusals(table, plan)...)
}

// planRefusals plans the filter table around the nat table. A service port that loses its last endpoint, or gets its first, is in
// one table or the other at every moment: what is refused comes before the nat table changes, and what is no longer refused goes
// after it.
func (b *Backend) planRefusals(table *service.Table, nat func() xtables.Section) []xtables.Section {
	refused := b.layout.refusals(table)
	before := b.rules.Plan("filter", b.layout.filterChains(table, union(refused, b.refusals)), nil)
	between := nat()
	after := b.rules.Plan("filter", b.layout.filterChains(table, refused), b.rules.Held("filter"))
	b.refusals = refused
	return []xtables.Section{before, between, after}
}

// sameFrontends reports whether two states of a service port are found in the same way.
func sameFrontends(was, is *service.Port) bool {
	if was == nil || is == nil {
		return was == is
	}
	return slices.EqualFunc(was.Frontends, is.Frontends, service.Frontend.Equal) &&
		(len(was.Endpoints) == 0) == (len(is.Endpoints) == 0) && (len(was.Local) == 0) == (len(is.Local) == 0)
}

// sameHealthPorts reports whether two Tables have health checks on the same ports.
func sameHealthPorts(was, is *service.Table) bool {
	return slices.EqualFunc(was.HealthChecks, is.HealthChecks, func(x, y service.HealthCheck) bool { return x.Port == y.Port })
}
