package xtables

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"k8s.io/klog/v2"
)

// Write hands what was planned to the kernel, in this order; what changes nothing is left out, and nothing is run where nothing
// changes. A chain that somebody else's rule leads to cannot be removed, and must not keep all the rest from being written: it
// stays, empty, and is named once.
func (r *Ruleset) Write(ctx context.Context, sections ...Section) error {
	r.planJumps(sections)
	if !slices.ContainsFunc(sections, func(s Section) bool { return !s.empty() }) {
		r.found = nil
		return nil
	}
	err := r.watch.writes(ctx, r.kernel, growth(r.kernel.Variant(), sections), func() error { return r.restore(ctx, sections) })
	if err != nil {
		r.Forget()
		return err
	}
	r.found = nil
	return nil
}

func (r *Ruleset) restore(ctx context.Context, sections []Section) error {
	err := restore(ctx, r.kernel, sections)
	if err == nil || !slices.ContainsFunc(sections, func(s Section) bool { return len(s.remove) > 0 }) {
		return err
	}
	have, readErr := readKernel(ctx, r.kernel, r.owner)
	if readErr != nil {
		return err
	}
	for i := range sections {
		s := &sections[i]
		r.keepStuck(ctx, s, have)
		// Sections before the one that failed have been applied.
		s.jumps = slices.DeleteFunc(s.jumps, have.inPlace)
		s.strays = slices.DeleteFunc(s.strays, func(j Jump) bool {
			return !have.hasJump(j) || slices.Contains(r.owner.Jumps, j) && have.inPlace(j)
		})
	}
	return restore(ctx, r.kernel, sections)
}

// keepStuck takes the chains out of a removal that a rule of somebody else leads to.
func (r *Ruleset) keepStuck(ctx context.Context, s *Section, have *saved) {
	s.remove = slices.DeleteFunc(s.remove, func(name string) bool {
		at := slices.IndexFunc(have.jumps, func(j Jump) bool {
			return j.Table == s.table && j.To == name && !slices.Contains(builtin, j.From)
		})
		if at < 0 {
			return false
		}
		s.clear = append(s.clear, name)
		r.written[s.table][name] = empty
		if _, said := r.stuck[name]; !said {
			r.stuck[name] = struct{}{}
			klog.FromContext(ctx).Info("Cannot remove a chain that another program's rule leads to; take that rule out",
				"table", s.table, "chain", name, "rule", have.jumps[at].String())
		}
		return true
	})
}

// restore hands sections to the kernel, in one go unless they are too much for the nft variant.
func restore(ctx context.Context, k Kernel, sections []Section) error {
	var text []byte
	for _, s := range sections {
		parts := []Section{s}
		if k.Variant() == NFT {
			parts = s.cut(chunk)
		}
		for i, part := range parts {
			if i > 0 {
				if err := k.Restore(ctx, text); err != nil {
					return restoreError(text, err)
				}
				text = text[:0]
			}
			text = part.appendTo(text)
		}
	}
	if len(text) == 0 {
		return nil
	}
	if err := k.Restore(ctx, text); err != nil {
		return restoreError(text, err)
	}
	return nil
}

// RestoreError says that the kernel did not take the rules that it was handed. Unless it wraps ErrRefused, that is not due to them.
type RestoreError struct {
	error

	// Chain is the chain of the rule that the kernel refuses; empty if that is not known.
	Chain string
}

// Unwrap returns why.
func (e RestoreError) Unwrap() error { return e.error }

// ErrRefused says that a restore failed as the kernel, or the program, does not take a rule. Other failures of a restore do not wrap it: a
// program that could not be started or was killed, a lack of memory, a lock that another program holds. They say nothing about the rules.
var ErrRefused = errors.New("the rules are refused")

// refusedError is an error that wraps ErrRefused and says no more than it did before.
type refusedError struct{ error }

// NewRefusal makes an error one that wraps ErrRefused.
func NewRefusal(err error) error { return refusedError{err} }

// Unwrap returns what iptables-restore said.
func (e refusedError) Unwrap() error { return e.error }

// Is implements what errors.Is looks for.
func (refusedError) Is(target error) bool { return target == ErrRefused }

// LineError says at which line of its input iptables-restore failed. On legacy iptables, that may be the line that ends a table.
type LineError struct {
	error

	Line int // the first one is 1
}

// NewLineError is an error of iptables-restore at a line of its input.
func NewLineError(line int, err error) error { return LineError{err, line} }

// Unwrap returns what iptables-restore said.
func (e LineError) Unwrap() error { return e.error }

// restoreError adds to an error the chain of the rule that it is about.
func restoreError(text []byte, err error) RestoreError {
	refused := RestoreError{error: err}
	var at LineError
	if !errors.As(err, &at) {
		return refused
	}
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n < at.Line {
			continue
		}
		if rule, ok := bytes.CutPrefix(line, []byte("-A ")); ok {
			name, _, _ := bytes.Cut(bytes.TrimSpace(rule), []byte(" "))
			refused.Chain = string(name)
		}
		break
	}
	return refused
}
