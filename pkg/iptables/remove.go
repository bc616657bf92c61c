package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// builtin lists the chains that belong to nobody.
var builtin = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// Remove deletes every chain of ours, and every jump to one, in all tables of both variants. It asks neither what this
// Backend wrote nor whether a table exists, so that it also cleans up after a process that is gone. It leaves alone what
// does not bear our mark.
func (b *Backend) Remove(ctx context.Context) error {
	var failures []error
	for _, v := range []Variant{Legacy, NFT} {
		k, err := newTool(ctx, b.options.Family, v)
		if errors.Is(err, ErrNotInstalled) {
			continue
		}
		if err == nil {
			err = removeAll(ctx, k)
		}
		failures = append(failures, err)
	}
	b.table = nil
	return errors.Join(failures...)
}

func removeAll(ctx context.Context, k kernel) error {
	b := Backend{kernel: k}
	have, err := b.read(ctx)
	if err != nil {
		return err
	}
	var foreign []error
	for _, j := range have.jumps {
		if !slices.Contains(builtin, j.from) {
			foreign = append(foreign, fmt.Errorf("in table %s, a rule of chain %s leads to %s: take it out first", j.table, j.from, j.to))
			continue
		}
		if err := k.Delete(j); err != nil {
			return err
		}
	}
	if len(foreign) > 0 {
		return errors.Join(foreign...)
	}
	var sections []section
	for _, table := range slices.Sorted(maps.Keys(have.chains)) {
		sections = append(sections, section{table: table, remove: slices.Sorted(maps.Keys(have.chains[table]))})
	}
	return b.write(ctx, sections)
}
