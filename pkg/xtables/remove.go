package xtables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/klog/v2"
)

// Remove deletes every chain of the owner, and every jump to one, in all tables of both variants. It asks neither what this
// Ruleset wrote nor whether a table exists, so that it also cleans up after a process that is gone. It leaves alone what
// is not the owner's.
func (r *Ruleset) Remove(ctx context.Context) error {
	r.Forget()
	var failures []error
	for _, v := range []Variant{Legacy, NFT} {
		if err := r.removeFrom(ctx, v); !errors.Is(err, ErrNotInstalled) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// leaveOther removes what an earlier Fairlead has left in the other variant, once this one serves. A node's variant may have
// changed since: kubelet had not said at that time which one it uses. It is not part of the first sync, which has to be quick.
func (r *Ruleset) leaveOther(ctx context.Context) {
	if r.alone {
		return
	}
	r.alone = true
	other := Legacy
	if r.kernel.Variant() == Legacy {
		other = NFT
	}
	if err := r.removeFrom(ctx, other); err != nil && !errors.Is(err, ErrNotInstalled) {
		klog.FromContext(ctx).Error(err, "Could not look for rules of an earlier Fairlead in the other variant of iptables; 'fairlead cleanup' removes all", "variant", other)
	}
}

// readVariant reads what the owner has in a variant, whether it is the one in use or not.
func (r *Ruleset) readVariant(ctx context.Context, v Variant) (Kernel, *saved, error) {
	k, err := r.open(ctx, r.family, v)
	if err != nil {
		return nil, nil, err
	}
	have, err := readKernel(ctx, k, r.owner)
	return k, have, err
}

func (r *Ruleset) removeFrom(ctx context.Context, v Variant) error {
	k, have, err := r.readVariant(ctx, v)
	if err != nil {
		return err
	}
	var foreign []error
	own := slices.DeleteFunc(slices.Clone(have.jumps), func(j Jump) bool {
		if slices.Contains(builtin, j.From) {
			return false
		}
		foreign = append(foreign, fmt.Errorf("in table %s, a rule of chain %s leads to %s: take it out first", j.Table, j.From, j.To))
		return true
	})
	if err := restore(ctx, k, unhooking(own)); err != nil {
		return err
	}
	if len(foreign) > 0 {
		return errors.Join(foreign...)
	}
	var sections []Section
	for _, table := range slices.Sorted(maps.Keys(have.chains)) {
		sections = append(sections, Section{table: table, remove: slices.Sorted(maps.Keys(have.chains[table]))})
	}
	return restore(ctx, k, sections)
}

// unhooking takes jumps out where another program serves already, so that no moment refuses what one of the two serves. First what refuses:
// packets that the nat table no longer translates meet it at once, and a UDP packet or a few SYNs would be lost. Then what translates, all
// of a table at once. What lets packets through the FORWARD chain goes last, as the policy of that may be DROP, and a packet on its way has
// been translated already.
func unhooking(jumps []Jump) []Section {
	forwards := func(j Jump) bool { return j.Table == "filter" && j.From == "FORWARD" }
	refuses := func(j Jump) bool { return j.Table == "filter" && j.From != "FORWARD" }
	sections := []Section{{table: "filter", strays: slices.DeleteFunc(slices.Clone(jumps), func(j Jump) bool { return !refuses(j) })}}
	for _, table := range tables {
		if table != "filter" {
			sections = append(sections, Section{table: table, strays: slices.DeleteFunc(slices.Clone(jumps), func(j Jump) bool { return j.Table != table })})
		}
	}
	return append(sections, Section{table: "filter", strays: slices.DeleteFunc(slices.Clone(jumps), func(j Jump) bool { return !forwards(j) })})
}
