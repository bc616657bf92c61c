package iptables

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"k8s.io/klog/v2"
)

// chunk is how many chains the nft variant loads at once: what iptables-nft-restore needs grows with the square of them, and each
// commit has a price of its own.
const chunk = 250

// plan makes the change to one table that writes those of the chains that the kernel does not hold just so, and removes
// those of the old ones that are not among them. From here on the change counts as made: where it fails, Sync forgets
// everything about the kernel anyway.
func (b *Backend) plan(table string, chains []chain, old []string) section {
	s := section{table: table}
	held := b.written[table]
	wanted := make(map[string]struct{}, len(chains))
	for _, c := range chains {
		wanted[c.name] = struct{}{}
		if sum, is := held[c.name]; !is || sum != c.sum {
			s.write = append(s.write, c)
			held[c.name] = c.sum
		}
	}
	for _, name := range old {
		_, keep := wanted[name]
		if _, is := held[name]; is && !keep {
			s.remove = append(s.remove, name)
			delete(held, name)
		}
	}
	slices.Sort(s.remove)
	return s
}

// restore writes sections. A chain that somebody else's rule leads to cannot be removed, and must not keep all the rest from being
// written: it stays, empty.
func (b *Backend) restore(ctx context.Context, sections ...section) error {
	err := b.write(ctx, sections)
	if err == nil || !slices.ContainsFunc(sections, func(s section) bool { return len(s.remove) > 0 }) {
		return err
	}
	have, readErr := b.read(ctx)
	if readErr != nil {
		return err
	}
	for i := range sections {
		s := &sections[i]
		b.keepStuck(ctx, s, have)
		// Sections before the one that failed have been applied.
		s.jumps = slices.DeleteFunc(s.jumps, have.hasJump)
		s.strays = slices.DeleteFunc(s.strays, func(j jump) bool { return !have.hasJump(j) })
	}
	return b.write(ctx, sections)
}

// keepStuck takes the chains out of a removal that a rule of somebody else leads to.
func (b *Backend) keepStuck(ctx context.Context, s *section, have *saved) {
	s.remove = slices.DeleteFunc(s.remove, func(name string) bool {
		at := slices.IndexFunc(have.jumps, func(j jump) bool {
			return j.table == s.table && j.to == name && !slices.Contains(builtin, j.from)
		})
		if at < 0 {
			return false
		}
		s.clear = append(s.clear, name)
		b.written[s.table][name] = empty
		if _, said := b.stuck[name]; !said {
			b.stuck[name] = struct{}{}
			klog.FromContext(ctx).Info("Cannot remove a chain that another program's rule leads to; take that rule out",
				"table", s.table, "chain", name, "rule", have.jumps[at].line())
		}
		return true
	})
}

// write hands sections to the kernel, in one go unless they are too much for the nft variant.
func (b *Backend) write(ctx context.Context, sections []section) error {
	var text []byte
	for _, s := range sections {
		parts := []section{s}
		if b.kernel.Variant() == NFT {
			parts = s.cut(chunk)
		}
		for i, part := range parts {
			if i > 0 {
				if err := b.kernel.Restore(ctx, text); err != nil {
					return err
				}
				text = text[:0]
			}
			text = part.appendTo(text)
		}
	}
	if len(text) == 0 {
		return nil
	}
	return b.kernel.Restore(ctx, text)
}

// read asks the kernel what it holds of ours.
func (b *Backend) read(ctx context.Context) (*saved, error) {
	out, in := io.Pipe()
	type result struct {
		*saved
		error
	}
	done := make(chan result, 1)
	go func() {
		have, err := readSaved(out)
		out.CloseWithError(err)
		done <- result{have, err}
	}()
	// Not the other way round: a program started from another thread might run in another network namespace than the caller.
	err := b.kernel.Save(ctx, in)
	in.CloseWithError(err)
	have := <-done
	if err := cmp.Or(err, have.error); err != nil {
		return nil, fmt.Errorf("read the kernel's rules: %w", err)
	}
	return have.saved, nil
}

// held lists the chains of ours that one table has.
func (b *Backend) held(table string) []string {
	return slices.Collect(maps.Keys(b.written[table]))
}

func names(chains []chain) []string {
	list := make([]string, len(chains))
	for i, c := range chains {
		list[i] = c.name
	}
	return list
}
