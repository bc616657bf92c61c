package iptables

import (
	"context"
	"maps"
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
	b.neighbors = neighbors{}
	var nat []chain
	for _, p := range table.Ports {
		nat = append(nat, b.layout.portChains(table, p)...)
		b.neighbors.count(p, 1)
	}
	postrouting, dispatch := b.layout.postroutingChains(table, b.neighbors), b.layout.natChains(table)
	b.postrouting, b.dispatch = names(postrouting), names(dispatch)
	sections := b.planRefusals(table, func() section {
		return b.plan("nat", slices.Concat(nat, postrouting, dispatch), b.held("nat"))
	})
	for _, table := range []string{"filter", "nat"} {
		first := &sections[slices.IndexFunc(sections, func(s section) bool { return s.table == table })]
		first.jumps, first.strays = missingJumps(have, table), strayJumps(have, table)
	}
	return b.restore(ctx, sections...)
}

// missingJumps are the ways into our chains that one table lacks.
func missingJumps(have *saved, table string) []jump {
	return slices.DeleteFunc(slices.Clone(jumps), func(j jump) bool { return j.table != table || have.hasJump(j) })
}

// strayJumps are those that lead from a built-in chain of one table into our chains in another way than ours do: another Fairlead's.
func strayJumps(have *saved, table string) []jump {
	return slices.DeleteFunc(slices.Clone(have.jumps), func(h jump) bool {
		return h.table != table || !slices.Contains(builtin, h.from) ||
			slices.ContainsFunc(jumps, func(j jump) bool { return j.table == table && j.line() == h.line() })
	})
}

// syncPorts writes what has changed in the given service ports, taking for granted that the kernel holds what was last
// written.
func (b *Backend) syncPorts(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var nat []chain
	var old []string
	moved := false // ways in are not the same as before
	for _, name := range slices.SortedFunc(maps.Keys(dirty), service.PortName.Compare) {
		was, is := b.table.Port(name), table.Port(name)
		old = append(old, names(b.layout.portChains(b.table, was))...)
		nat = append(nat, b.layout.portChains(table, is)...)
		b.neighbors.count(was, -1)
		b.neighbors.count(is, 1)
		moved = moved || !sameFrontends(was, is)
	}
	postrouting := b.layout.postroutingChains(table, b.neighbors)
	nat, old = append(nat, postrouting...), append(old, b.postrouting...)
	b.postrouting = names(postrouting)
	if moved {
		dispatch := b.layout.natChains(table)
		nat, old = append(nat, dispatch...), append(old, b.dispatch...)
		b.dispatch = names(dispatch)
	}
	plan := func() section { return b.plan("nat", nat, old) }
	if !moved && sameHealthPorts(b.table, table) {
		return b.restore(ctx, plan())
	}
	return b.restore(ctx, b.planRefusals(table, plan)...)
}

// planRefusals plans the filter table around the nat table. A service port that loses its last endpoint, or gets its first, is in
// one table or the other at every moment: what is refused comes before the nat table changes, and what is no longer refused goes
// after it.
func (b *Backend) planRefusals(table *service.Table, nat func() section) []section {
	refused := b.layout.refusals(table)
	before := b.plan("filter", b.layout.filterChains(table, union(refused, b.refused)), nil)
	between := nat()
	after := b.plan("filter", b.layout.filterChains(table, refused), b.held("filter"))
	b.refused = refused
	return []section{before, between, after}
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
