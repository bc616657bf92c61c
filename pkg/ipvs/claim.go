package ipvs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// compareClaims orders frontends that want the same alias, as pkg/service orders those that want the same address: the first one gets it.
func compareClaims(k key, w *wish, ok key, o *wish) int {
	return cmp.Or(w.port.Claim(w.frontend).Compare(o.port.Claim(o.frontend)), compareKeys(k, ok))
}

// assignAliases gives frontends that need an alias theirs. Of several that want the same one, all but the best treat internal clients as
// external ones, and their owners are told. If another has the alias still, it gives it up first: the best one gets it in the next round.
func (b *Backend) assignAliases(ctx context.Context, wishes map[key]*wish) {
	contenders := b.contenders(wishes)
	for at, keys := range contenders {
		slices.SortFunc(keys, func(x, y key) int { return compareClaims(x, wishes[x], y, wishes[y]) })
		best := keys[0]
		if owner, taken := b.aliases[at]; taken {
			if _, changes := wishes[owner]; !changes {
				best = owner // or it would be among those that change
			}
		}
		b.aliases.claim(best)
		for _, k := range keys {
			if k != best {
				b.tellOfAlias(ctx, k, wishes[k], best)
			}
			if k == best && b.aliases[at] == k {
				delete(b.withoutAlias, k)
				continue
			}
			b.withoutAlias[k] = struct{}{}
			wishes[k].inside = nil
		}
	}
	for k, w := range wishes {
		if w == nil || !slices.Contains(contenders[alias(k)], k) {
			delete(b.withoutAlias, k)
		}
	}
}

// contenders are the frontends that want each alias. To those that change come those that wait for the same alias, and its owner if one of
// the others has a better claim.
func (b *Backend) contenders(wishes map[key]*wish) map[key][]key {
	list := map[key][]key{}
	add := func(k key) {
		if w := wishes[k]; w != nil && len(w.inside) > 0 {
			list[alias(k)] = append(list[alias(k)], k)
		}
	}
	for k := range wishes {
		add(k)
	}
	if len(list) == 0 {
		return nil
	}
	for k := range b.withoutAlias {
		if _, changes := wishes[k]; !changes && list[alias(k)] != nil {
			wishes[k] = b.frontends.at(k)
			add(k)
		}
	}
	for at, keys := range maps.Clone(list) {
		owner, taken := b.aliases[at]
		if _, changes := wishes[owner]; !taken || changes {
			continue
		}
		w := b.frontends.at(owner)
		better := func(k key) bool { return w == nil || compareClaims(k, wishes[k], owner, w) < 0 }
		if slices.ContainsFunc(keys, better) {
			wishes[owner] = w
			add(owner)
		}
	}
	return list
}

// tellOfAlias tells the owner of a frontend that another one has its alias.
func (b *Backend) tellOfAlias(ctx context.Context, k key, w *wish, best key) {
	b.tell(ctx, w.port.Name.Service(), "AliasTaken", fmt.Sprintf("internal clients of %s get the same endpoints as external ones, although its traffic policy says otherwise: IPVS mode has one second virtual server for it and for %s, which has the better claim; give the Service another address",
		k, best))
}

// releaseAlias gives up the alias of a frontend that has no use for it any more, and notes those that wait for it.
func (b *Backend) releaseAlias(k key, w *wish, waiting map[key]struct{}) {
	if w != nil && len(w.inside) > 0 || !b.aliases.release(k) {
		return
	}
	for other := range b.withoutAlias {
		if other != k && alias(other) == alias(k) {
			waiting[other] = struct{}{}
		}
	}
}
