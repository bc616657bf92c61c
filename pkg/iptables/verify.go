package iptables

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Verify compares the kernel's rules with what the last Sync wrote, and names what differs. It changes none of them, and finds
// nothing while the last Sync has failed: the next one reads the kernel anyway. The first time, it also removes what an earlier
// Fairlead has left in the variant that is not used.
func (b *Backend) Verify(ctx context.Context) (drift []string, err error) {
	if b.table == nil {
		return nil, nil
	}
	b.leaveOther(ctx)
	have, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range slices.Sorted(maps.Keys(have.chains)) {
		drift = append(drift, compareChains(table, b.written[table], have.chains[table])...)
	}
	for _, j := range jumps {
		if !have.hasJump(j) {
			drift = append(drift, fmt.Sprintf("%s %s: the jump to %s is gone", j.table, j.from, j.to))
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
