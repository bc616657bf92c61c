package tracer

import (
	"fmt"
	"maps"
	"slices"
)

// tableNames are the tables in the order in which they are printed.
var tableNames = []string{"raw", "mangle", "nat", "filter", "security"}

// builtinChains are the chains the kernel makes, in the kernel's order.
var builtinChains = map[string][]string{
	"raw":      {"PREROUTING", "OUTPUT"},
	"mangle":   {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"nat":      {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"filter":   {"INPUT", "FORWARD", "OUTPUT"},
	"security": {"INPUT", "FORWARD", "OUTPUT"},
}

// maxChainName is the longest chain name the kernel has room for.
const maxChainName = 28

// table is one table. A committed table is never changed: Restore works on a
// draft and puts it in the table's place at COMMIT.
type table struct {
	name   string
	chains map[string]*chain
	refs   map[string]int // how many rules jump or go to a chain
}

// chain is a list of rules. policy is empty for a chain made by the user.
type chain struct {
	name   string
	policy string
	rules  []*rule
}

func (c *chain) builtin() bool { return c.policy != "" }

func newTable(name string) *table {
	t := &table{name: name, chains: map[string]*chain{}, refs: map[string]int{}}
	for _, c := range builtinChains[name] {
		t.chains[c] = &chain{name: c, policy: "ACCEPT"}
	}
	return t
}

// chainNames lists the built-in chains in the kernel's order, then the others
// by name.
func (t *table) chainNames() []string {
	names := slices.Clone(builtinChains[t.name])
	for _, name := range slices.Sorted(maps.Keys(t.chains)) {
		if !t.chains[name].builtin() {
			names = append(names, name)
		}
	}
	return names
}

// draft is a table that is being changed. Chains are copied when they are
// first touched, so that a large table is cheap to change a little.
type draft struct {
	table
	family family
	own    map[string]bool
}

func newDraft(t *table, f family) *draft {
	return &draft{
		table:  table{name: t.name, chains: maps.Clone(t.chains), refs: maps.Clone(t.refs)},
		family: f,
		own:    map[string]bool{},
	}
}

// edit returns a chain that may be changed.
func (d *draft) edit(name string) (*chain, error) {
	c, ok := d.chains[name]
	if !ok {
		return nil, fmt.Errorf("there is no chain %s in table %s", name, d.name)
	}
	if !d.own[name] {
		c = &chain{name: c.name, policy: c.policy, rules: slices.Clone(c.rules)}
		d.chains[name] = c
		d.own[name] = true
	}
	return c, nil
}

// create makes an empty chain of the user.
func (d *draft) create(name string) error {
	if err := checkName("chain name", name, maxChainName); err != nil {
		return err
	}
	if _, clash := targetKinds[name]; clash {
		return fmt.Errorf("chain name %s is the name of a target", name)
	}
	if _, exists := d.chains[name]; exists {
		return fmt.Errorf("chain %s exists already", name)
	}
	d.chains[name] = &chain{name: name}
	d.own[name] = true
	return nil
}

func (d *draft) flush(name string) error {
	c, err := d.edit(name)
	if err != nil {
		return err
	}
	for _, r := range c.rules {
		d.unlink(r)
	}
	c.rules = nil
	return nil
}

func (d *draft) remove(name string) error {
	c, ok := d.chains[name]
	switch {
	case !ok:
		return fmt.Errorf("there is no chain %s in table %s", name, d.name)
	case c.builtin():
		return fmt.Errorf("chain %s is built in", name)
	case len(c.rules) > 0:
		return fmt.Errorf("chain %s is not empty", name)
	case d.refs[name] > 0:
		return fmt.Errorf("chain %s is still referenced", name)
	}
	delete(d.chains, name)
	return nil
}

// insert puts a rule before the place at (0 is the first).
func (d *draft) insert(c *chain, at int, r *rule) {
	c.rules = slices.Insert(c.rules, at, r)
	if r.to != "" {
		d.refs[r.to]++
	}
}

func (d *draft) delete(c *chain, at int) {
	d.unlink(c.rules[at])
	c.rules = slices.Delete(c.rules, at, at+1)
}

func (d *draft) unlink(r *rule) {
	if r.to == "" {
		return
	}
	if d.refs[r.to]--; d.refs[r.to] == 0 {
		delete(d.refs, r.to)
	}
}
