package xtables

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Verify compares the kernel's rules with what was last written, and names what differs. It changes none of them, and finds
// nothing where it is not known what was written: the kernel is read then anyway. The first time, it also removes what an earlier
// Fairlead has left in the variant that is not used.
func (r *Ruleset) Verify(ctx context.Context) (drift []string, err error) {
	if r.written == nil {
		return nil, nil
	}
	r.leaveOther(ctx)
	have, err := readKernel(ctx, r.kernel, r.owner)
	if err != nil {
		return nil, err
	}
	for _, table := range eitherTable(r.written, have.chains) {
		drift = append(drift, compareChains(table, r.written[table], have.chains[table])...)
	}
	for _, j := range r.owner.Jumps {
		if !have.hasJump(j) {
			drift = append(drift, fmt.Sprintf("%s %s: the jump to %s is gone", j.Table, j.From, j.To))
		}
	}
	return drift, nil
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
