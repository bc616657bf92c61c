package xtables

import (
	"context"
)

// Replace makes the kernel hold exactly these chains, by table and children first in each, and the owner's jumps. It reads what the
// kernel holds and writes only what differs, which may be nothing.
func (r *Ruleset) Replace(ctx context.Context, chains map[string][]Chain) error {
	if err := r.Read(ctx); err != nil {
		return err
	}
	var sections []Section
	for _, table := range eitherTable(r.written, chains) {
		sections = append(sections, r.Plan(table, chains[table], r.Held(table)))
	}
	return r.Write(ctx, sections...)
}
