package xtables

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Try asks the kernel whether it takes chains of one table. It writes them under the names that rename makes of theirs, which nothing leads
// to, and removes them again. ErrRefused says that the kernel refuses them. What is known of the kernel stays valid.
func (r *Ruleset) Try(ctx context.Context, table string, chains []Chain, rename *strings.Replacer) error {
	if len(chains) == 0 {
		return nil
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	add, remove := Section{table: table}, Section{table: table}
	for _, c := range chains {
		renamed := Chain{name: rename.Replace(c.name), text: []byte(rename.Replace(string(c.text)))}
		add.write = append(add.write, renamed)
		remove.remove = append(remove.remove, renamed.name)
	}
	before, commits := current(ctx, r.kernel), 0
	err := restore(ctx, r.kernel, []Section{add})
	if parts := len(add.cut(chunk)); err == nil || parts > 1 {
		commits = parts + len(remove.cut(chunk))
		if undo := restore(ctx, r.kernel, []Section{remove}); undo != nil {
			err = fmt.Errorf("remove chains that were tried: %v", errors.Join(undo, err)) //nolint:errorlint // no verdict on them
		}
	}
	after := current(ctx, r.kernel)
	if before.Text != "" && before.Text == r.watch.stamp.Text &&
		(after.Text == before.Text || r.kernel.Variant() == NFT && after.Count[""] == before.Count[""]+commits) {
		r.watch.stamp = after
	}
	return err
}
