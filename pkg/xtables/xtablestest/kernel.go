// Package xtablestest has a packet filter in memory, for tests of what is written through pkg/xtables.
package xtablestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Kernel is an xtables.Kernel in memory, which counts what it is asked.
type Kernel struct {
	Rules    *tracer.Ruleset
	As       xtables.Variant // the variant that it passes for
	Saves    int             // how often it was read
	Restores [][]byte        // the text of each restore that it took
	Fail     int             // how many restores fail from here on
	// Refuse fails a restore at the first rule, given as its line, for which it returns an error. Tables before that one are written.
	Refuse  func(rule string) error
	Packets map[string]int // how many packets the rules of each chain have matched

	commits int
}

// New returns a Kernel that nobody has touched.
func New(as xtables.Variant) *Kernel { return &Kernel{Rules: tracer.New(), As: as} }

// Variant implements xtables.Kernel.
func (k *Kernel) Variant() xtables.Variant { return k.As }

// RandomFully implements xtables.Kernel.
func (k *Kernel) RandomFully() bool { return true }

// Stamp implements xtables.Kernel. On legacy it tells no more than the real kernel does: how many rules and chains there are, and how
// long they are.
func (k *Kernel) Stamp(context.Context) (xtables.Stamp, error) {
	text := k.Rules.String()
	if k.As == xtables.NFT {
		return xtables.Stamp{Text: text, Count: map[string]int{"": k.commits}}, nil
	}
	s := xtables.Stamp{Count: map[string]int{}}
	table := ""
	for line := range strings.Lines(text) {
		switch name, _, _ := strings.Cut(line[1:], " "); line[0] {
		case '*':
			table = name
			s.Count[table] = 1
		case ':':
			s.Count[table]++
			if !slices.Contains(builtin, name) {
				s.Count[table]++
			}
		case '-':
			s.Count[table]++
		}
	}
	s.Text = fmt.Sprint(len(text), s.Count)
	return s, nil
}

var builtin = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// Save implements xtables.Kernel.
func (k *Kernel) Save(_ context.Context, out io.Writer) error {
	k.Saves++
	_, err := k.Rules.WriteTo(out)
	return err
}

// SaveCounters implements xtables.Kernel. Each rule has matched as many packets as Packets says of its chain.
func (k *Kernel) SaveCounters(_ context.Context, out io.Writer) error {
	k.Saves++
	for line := range strings.Lines(k.Rules.String()) {
		if rule, ok := strings.CutPrefix(line, "-A "); ok {
			chain, _, _ := strings.Cut(strings.TrimSpace(rule), " ")
			line = fmt.Sprintf("[%d:%d] %s", k.Packets[chain], 60*k.Packets[chain], line)
		}
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
	}
	return nil
}

// Restore implements xtables.Kernel.
func (k *Kernel) Restore(_ context.Context, text []byte) error {
	if k.Fail > 0 {
		k.Fail--
		return errors.New("the kernel says no")
	}
	k.Restores = append(k.Restores, bytes.Clone(text))
	taken, refused := k.taken(text)
	k.commits += bytes.Count(taken, []byte("COMMIT\n"))
	return errors.Join(refused, k.Rules.Restore(bytes.NewReader(taken)))
}

// taken is the part of a restore before the table in which a rule is refused.
func (k *Kernel) taken(text []byte) ([]byte, error) {
	whole, at, n := 0, 0, 0
	for line := range bytes.Lines(text) {
		n++
		at += len(line)
		if string(line) == "COMMIT\n" {
			whole = at
		}
		if rule := strings.TrimSpace(string(line)); k.Refuse != nil && strings.HasPrefix(rule, "-A ") {
			if err := k.Refuse(rule); err != nil {
				return text[:whole], k.refusal(n, err)
			}
		}
	}
	return text, nil
}

// refusal names the line as the nft variant does; legacy does not say which rule it is.
func (k *Kernel) refusal(line int, err error) error {
	err = xtables.NewRefusal(err)
	if k.As == xtables.NFT {
		return xtables.NewLineError(line, err)
	}
	return err
}

// Has implements xtables.Kernel.
func (k *Kernel) Has(j xtables.Jump) (bool, error) {
	rule := strings.TrimPrefix(j.String(), "-A "+j.From+" ")
	return slices.Contains(k.Rules.Rules(j.Table, j.From), rule), nil
}

// Delete implements xtables.Kernel.
func (k *Kernel) Delete(j xtables.Jump) error {
	rule := strings.Replace(j.String(), "-A ", "-D ", 1)
	return k.Rules.Restore(strings.NewReader(fmt.Sprintf("*%s\n%s\nCOMMIT\n", j.Table, rule)))
}

// TakeRestores returns the text of the restores since the last call.
func (k *Kernel) TakeRestores() string {
	text := string(bytes.Join(k.Restores, nil))
	k.Restores = nil
	return text
}

// Open is an xtables.Opener of machines on which these are the kernels of one family, each of another variant. The first is the one
// in use.
func Open(kernels ...*Kernel) xtables.Opener {
	return func(_ context.Context, _ service.Family, v xtables.Variant) (xtables.Kernel, error) {
		if v == "" || v == xtables.Auto {
			v = kernels[0].As
		}
		for _, k := range kernels {
			if k.As == v {
				return k, nil
			}
		}
		return nil, fmt.Errorf("iptables-%s %w", v, xtables.ErrNotInstalled)
	}
}
