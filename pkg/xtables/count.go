package xtables

import "maps"

// counts has how many rules of an owner there are, by table.
type counts struct {
	total, written map[string]int
}

// read begins anew with what the kernel holds.
func (c *counts) read(chains map[string]checksums) {
	c.total = map[string]int{}
	for table, held := range chains {
		for _, sum := range held {
			c.total[table] += int(sum.rules)
		}
	}
}

func (c *counts) write(table string, was, is checksum) {
	if c.written == nil {
		c.written = map[string]int{}
	}
	c.total[table] += int(is.rules) - int(was.rules)
	c.written[table] += int(is.rules)
}

func (c *counts) remove(table string, was checksum) { c.total[table] -= int(was.rules) }

// RuleCounts has how many rules of the owner's chains there are by table, and how many were written since the last call.
func (r *Ruleset) RuleCounts() (total, written map[string]int) {
	total, written = maps.Clone(r.counts.total), r.counts.written
	r.counts.written = nil
	return total, written
}
