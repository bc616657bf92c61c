package tracer

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Ruleset holds the tables of one address family as iptables-save prints them.
//
// Traces may run at the same time; a Restore must be alone.
type Ruleset struct {
	// Sets are the ipsets that "-m set" asks, by name: whether the set holds
	// the address, port and protocol. A rule that asks a set which is not
	// here makes Trace fail.
	Sets map[string]func(addr netip.Addr, port uint16, proto string) bool

	tables map[string]*table
	family family
}

// New returns a rule set as a kernel has it before anyone touched it: the
// tables raw, mangle, nat and filter with their built-in chains, policy ACCEPT
// and no rules. The table security is there once it was named.
func New() *Ruleset {
	rs := &Ruleset{tables: map[string]*table{}}
	for _, name := range []string{"raw", "mangle", "nat", "filter"} {
		rs.tables[name] = newTable(name)
	}
	return rs
}

// Parse reads what iptables-save printed, with or without counters.
func Parse(r io.Reader) (*Ruleset, error) {
	rs := New()
	if err := rs.Restore(r); err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	return rs, nil
}

// Chains lists the chains of a table: the built-in ones in the kernel's order,
// then the others by name. It is nil for a table that is not there.
func (rs *Ruleset) Chains(table string) []string {
	t, ok := rs.tables[table]
	if !ok {
		return nil
	}
	return t.chainNames()
}

// Rules lists the rules of a chain, each as iptables-save writes it after
// "-A CHAIN ". It is nil for a chain that is not there.
func (rs *Ruleset) Rules(table, chain string) []string {
	t, ok := rs.tables[table]
	if !ok {
		return nil
	}
	c, ok := t.chains[chain]
	if !ok {
		return nil
	}
	texts := make([]string, len(c.rules))
	for i, r := range c.rules {
		texts[i] = r.textFor(rs.family)
	}
	return texts
}

// String prints the rule set as iptables-save does, without comments and with
// all counters at zero.
func (rs *Ruleset) String() string {
	var b strings.Builder
	_, _ = rs.WriteTo(&b) // a Builder does not fail
	return b.String()
}

// WriteTo writes what String returns.
func (rs *Ruleset) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{to: w}
	out := bufio.NewWriter(counted)
	for _, name := range tableNames {
		if t, ok := rs.tables[name]; ok {
			rs.writeTable(out, t)
		}
	}
	if err := out.Flush(); err != nil {
		return counted.n, fmt.Errorf("writing rules: %w", err)
	}
	return counted.n, nil
}

// writeTable leaves errors to the Flush of the caller.
func (rs *Ruleset) writeTable(out *bufio.Writer, t *table) {
	names := t.chainNames()
	fmt.Fprintf(out, "*%s\n", t.name)
	for _, name := range names {
		policy := "-"
		if c := t.chains[name]; c.builtin() {
			policy = c.policy
		}
		fmt.Fprintf(out, ":%s %s [0:0]\n", name, policy)
	}
	for _, name := range names {
		for _, r := range t.chains[name].rules {
			rule := "-A " + name
			if text := r.textFor(rs.family); text != "" {
				rule += " " + text
			}
			fmt.Fprintln(out, rule)
		}
	}
	fmt.Fprintln(out, "COMMIT")
}

// countingWriter counts the bytes that got through, as io.WriterTo asks for.
type countingWriter struct {
	to io.Writer
	n  int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
