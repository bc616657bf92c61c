package xtables

import (
	"slices"
)

// Plan makes the change to one table that writes those of the chains, children first, that the kernel does not hold just so, and
// removes those of the old ones that are not among them. The kernel has to have been read before. From here on the change counts
// as made: where it fails, Write forgets everything about the kernel.
func (r *Ruleset) Plan(table string, chains []Chain, old []string) Section {
	s := Section{table: table}
	held := r.written[table]
	if held == nil {
		held = checksums{}
		r.written[table] = held
	}
	wanted := make(map[string]struct{}, len(chains))
	for _, c := range chains {
		wanted[c.name] = struct{}{}
		if sum, is := held[c.name]; !is || sum != c.sum {
			s.write = append(s.write, c)
			s.grows += c.sum.entries()
			if is {
				s.grows -= sum.entries()
			}
			r.counts.write(table, sum, c.sum)
			held[c.name] = c.sum
		}
	}
	for _, name := range old {
		_, keep := wanted[name]
		if sum, is := held[name]; is && !keep {
			r.counts.remove(table, sum)
			s.remove = append(s.remove, name)
			s.grows -= sum.entries()
			delete(held, name)
		}
	}
	slices.Sort(s.remove)
	return s
}

// planJumps adds to the last section of each table what its jumps need, where the kernel has just been read: nothing leads to chains
// before all that the other sections hold is in place. Where another owner's chains serve so far, what these refuse would otherwise be
// refused before they serve.
func (r *Ruleset) planJumps(sections []Section) {
	if r.found == nil {
		return
	}
	for i := range sections {
		s := &sections[i]
		if !slices.ContainsFunc(sections[i+1:], func(after Section) bool { return after.table == s.table }) {
			s.jumps, s.strays = r.missingJumps(s.table), r.strayJumps(s.table)
		}
	}
}

// missingJumps are the ways into our chains that one table lacks, or has at a place where they come too late.
func (r *Ruleset) missingJumps(table string) []Jump {
	return slices.DeleteFunc(slices.Clone(r.owner.Jumps), func(j Jump) bool { return j.Table != table || r.found.inPlace(j) })
}

// strayJumps are those that lead from a built-in chain of one table into our chains in another way than ours do, another Fairlead's, and
// ours at a place where they come too late.
func (r *Ruleset) strayJumps(table string) []Jump {
	return slices.DeleteFunc(slices.Clone(r.found.jumps), func(h Jump) bool {
		return h.Table != table || !slices.Contains(builtin, h.From) || slices.Contains(r.owner.Jumps, h) && r.found.inPlace(h)
	})
}
