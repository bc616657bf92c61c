package xtables

import (
	"context"
	"errors"
	"slices"
)

// Unhook takes out every rule that leads from where these jumps lead from into the owner's chains, in both variants. The tables change in
// the order in which the jumps name them, each at once. The chains stay, and nothing is remembered of what was written: a Sync after this
// has to read the kernel.
func (r *Ruleset) Unhook(ctx context.Context, jumps ...Jump) error {
	r.Forget()
	var failures []error
	for _, v := range []Variant{Legacy, NFT} {
		if err := r.unhookIn(ctx, v, jumps); !errors.Is(err, ErrNotInstalled) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (r *Ruleset) unhookIn(ctx context.Context, v Variant, jumps []Jump) error {
	k, have, err := r.readVariant(ctx, v)
	if err != nil {
		return err
	}
	var sections []Section
	for _, j := range jumps {
		if slices.ContainsFunc(sections, func(s Section) bool { return s.table == j.Table }) {
			continue
		}
		sections = append(sections, Section{table: j.Table, strays: have.jumpsAt(j.Table, jumps)})
	}
	return restore(ctx, k, sections)
}

// jumpsAt are those that the kernel has in one table where some jumps lead from.
func (s *saved) jumpsAt(table string, jumps []Jump) []Jump {
	return slices.DeleteFunc(slices.Clone(s.jumps), func(have Jump) bool {
		return have.Table != table || !slices.ContainsFunc(jumps, func(j Jump) bool { return j.Table == table && j.From == have.From })
	})
}
