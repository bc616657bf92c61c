package xtables

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// saved is what of an owner's the kernel holds.
type saved struct {
	chains map[string]checksums // by table
	jumps  []Jump               // every rule outside of its chains that leads to one of them
	late   []Jump               // those of the jumps that come after one into the chains that the owner goes before
	// packets has how many packets the first rule of each counted chain has matched; see Owner.Counted.
	packets map[string]uint64
	texts   map[string]map[string][]string // by table and chain; see Owner.Keeps
}

// hasJump reports whether the kernel has a jump just as we write it.
func (s *saved) hasJump(j Jump) bool { return slices.Contains(s.jumps, j) }

// inPlace reports whether the kernel has a jump just as we write it, and where it belongs.
func (s *saved) inPlace(j Jump) bool { return s.hasJump(j) && !slices.Contains(s.late, j) }

// Steadily runs a reading of the kernel's rules, and again where it failed and somebody has changed rules meanwhile: iptables-nft-save asks
// for rules, and then for the sets in them, and fails where the two do not fit together ("Set with index 1 in kernel doesn't exist", seen
// with iptables 1.8.9).
func Steadily(ctx context.Context, k Kernel, read func() error) error {
	const attempts = 5
	for n := 1; ; n++ {
		before := current(ctx, k)
		err := read()
		if err == nil || n == attempts || ctx.Err() != nil || current(ctx, k).Text == before.Text {
			return err
		}
	}
}

// readKernel asks the kernel what it holds of an owner's.
func readKernel(ctx context.Context, k Kernel, o Owner) (have *saved, err error) {
	err = Steadily(ctx, k, func() error {
		have, err = readOnce(ctx, k, o)
		return err
	})
	return have, err
}

func readOnce(ctx context.Context, k Kernel, o Owner) (*saved, error) {
	out, in := io.Pipe()
	type result struct {
		*saved
		error
	}
	done := make(chan result, 1)
	go func() {
		have, err := readSaved(out, o)
		out.CloseWithError(err)
		done <- result{have, err}
	}()
	// Not the other way round: a program started from another thread might run in another network namespace than the caller.
	save := k.Save
	if o.Counted != "" {
		save = k.SaveCounters
	}
	err := save(ctx, in)
	in.CloseWithError(err)
	have := <-done
	if err := cmp.Or(err, have.error); err != nil {
		return nil, fmt.Errorf("read the kernel's rules: %w", err)
	}
	return have.saved, nil
}

// reader reads the output of iptables-save line by line.
type reader struct {
	owner    Owner
	declared []byte // how a line begins that declares a chain with the owner's prefix
	jumps    []byte // what a rule has in it that jumps to one
	gotos    []byte // and one that goes there without coming back

	saved  saved
	table  string
	chains checksums // of the table; nil before the first
	// The built-in chain that has led to chains that the owner goes before. The rules of one chain stand together.
	rivalled string
}

// readSaved reads the output of iptables-save. What is not the owner's it passes over, whatever it looks like.
func readSaved(from io.Reader, o Owner) (*saved, error) {
	r := reader{owner: o, declared: []byte(":" + o.Prefix), jumps: []byte("-j " + o.Prefix), gotos: []byte("-g " + o.Prefix), saved: saved{chains: map[string]checksums{}}}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		r.line(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what iptables-save prints: %w", err)
	}
	return &r.saved, nil
}

func (r *reader) line(line []byte) {
	switch {
	case bytes.HasPrefix(line, []byte("*")):
		r.table, r.rivalled = string(line[1:]), ""
		if r.saved.chains[r.table] == nil {
			r.saved.chains[r.table] = checksums{}
		}
		r.chains = r.saved.chains[r.table]
	case r.chains == nil:
	case bytes.HasPrefix(line, r.declared):
		name, _, _ := strings.Cut(string(line[1:]), " ")
		if r.owner.Ours(name) {
			r.chains[name] = empty
		}
	case bytes.HasPrefix(line, []byte("-A ")):
		r.rule(line)
	case bytes.HasPrefix(line, []byte("[")):
		if rule, packets := cutCounters(line); bytes.HasPrefix(rule, []byte("-A ")) {
			r.count(rule, packets)
			r.rule(rule)
		}
	}
}

func (r *reader) rule(line []byte) {
	name, rest, _ := bytes.Cut(line[len("-A "):], []byte(" "))
	if sum, known := r.chains[string(name)]; known {
		line = plainAddresses(line)
		r.chains[string(name)] = sum.then(line)
		r.keep(string(name), line)
		return
	}
	if r.owner.Before != "" && bytes.Contains(rest, []byte("-j "+r.owner.Before)) {
		r.rivalled = string(name)
		return
	}
	byGoto := bytes.Contains(rest, r.gotos)
	if bytes.HasPrefix(name, []byte(r.owner.Prefix)) || !byGoto && !bytes.Contains(rest, r.jumps) {
		return
	}
	match, to, _ := strings.Cut(string(rest), Jump{Goto: byGoto}.action())
	if _, known := r.chains[to]; known {
		j := Jump{Table: r.table, From: string(name), Match: strings.TrimSpace(match), To: to, Goto: byGoto}
		r.saved.jumps = append(r.saved.jumps, j)
		if j.From == r.rivalled {
			r.saved.late = append(r.saved.late, j)
		}
	}
}

// keep keeps the text of a rule, if the owner wants that of its chain.
func (r *reader) keep(chain string, line []byte) {
	if r.owner.Keeps == nil || !r.owner.Keeps(r.table, chain) {
		return
	}
	if r.saved.texts == nil {
		r.saved.texts = map[string]map[string][]string{}
	}
	if r.saved.texts[r.table] == nil {
		r.saved.texts[r.table] = map[string][]string{}
	}
	rule := strings.TrimSpace(strings.TrimPrefix(string(line), "-A "+chain))
	r.saved.texts[r.table][chain] = append(r.saved.texts[r.table][chain], rule)
}
