package xtables

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Verify compares the kernel's rules with what was last written, and names what differs. It changes none of them, and finds
// nothing where it is not known what was written: the kernel is read then anyway. It reads no more than its budget allows, and only if the
// rules may have changed, or packets are counted. The first time, it also removes what an earlier
// Fairlead has left in the variant that is not used.
func (r *Ruleset) Verify(ctx context.Context) (drift []string, err error) {
	if r.written == nil {
		return nil, nil
	}
	r.leaveOther(ctx)
	due, may := r.watch.due(ctx, r.kernel)
	counting := false
	switch count := r.owner.Counted != "" && r.watch.mayCount(); {
	case due && may:
	case count:
		counting = true
	case due:
		return r.unhooked(ctx)
	default:
		return nil, nil
	}
	var have *saved
	err = r.watch.reads(ctx, r.kernel, func() (err error) {
		have, err = readKernel(ctx, r.kernel, r.owner)
		return err
	})
	r.watch.spend(counting)
	if err != nil {
		return nil, err
	}
	r.packets.read(have.packets)
	for _, table := range eitherTable(r.written, have.chains) {
		drift = append(drift, compareChains(table, r.written[table], have.chains[table])...)
	}
	for _, j := range r.owner.Jumps {
		switch {
		case !have.hasJump(j):
			drift = append(drift, j.gone())
		case !have.inPlace(j):
			drift = append(drift, fmt.Sprintf("%s %s: the jump to %s comes after one to %s...", j.Table, j.From, j.To, r.owner.Before))
		}
	}
	if len(drift) > 0 {
		r.watch.stamp = unwatched // it is not as the Ruleset believes
		r.watch.spent = 0         // a reading that finds something is never one too many
	}
	return drift, nil
}

// unhooked names the jumps that are gone. Whoever flushes a table takes them too, and that must not wait until all may be read. It asks only
// for those in tables that have changed since all were last seen in place: on legacy, iptables reads the whole table for each question.
func (r *Ruleset) unhooked(ctx context.Context) (drift []string, err error) {
	now := current(ctx, r.kernel)
	for _, j := range r.owner.Jumps {
		if r.watch.unchanged(now, j.Table) {
			continue
		}
		has, err := r.kernel.Has(j)
		if err != nil {
			return nil, err
		}
		if !has {
			drift = append(drift, j.gone())
		}
	}
	if len(drift) == 0 {
		r.watch.hooked = now
	}
	return drift, nil
}

// unchanged reports whether a table is as it was when all jumps were last seen in place. On legacy, that is how many entries it has.
func (w *watch) unchanged(now Stamp, table string) bool {
	if w.hooked.Text == "" {
		return false
	}
	before, counted := w.hooked.Count[table]
	return now.Text == w.hooked.Text || counted && now.Count[table] == before
}

func compareChains(table string, want, have checksums) []string {
	var drift []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch sum, is := have[name]; {
		case !is:
			drift = append(drift, fmt.Sprintf("%s %s: the chain is gone", table, name))
		case sum != want[name]:
			drift = append(drift, fmt.Sprintf("%s %s: the rules have been changed", table, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, is := want[name]; !is {
			drift = append(drift, fmt.Sprintf("%s %s: the chain does not belong there", table, name))
		}
	}
	return drift
}
