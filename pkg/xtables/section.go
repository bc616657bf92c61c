package xtables

import (
	"fmt"
	"slices"
)

// Section is a change to one table: it happens at once or, where the nft variant needs it in parts, in an order in which nothing
// leads to what is not there yet.
type Section struct {
	table  string
	write  []Chain // children first
	clear  []string
	remove []string
	// strays are jumps to take out, before what they lead to is removed.
	strays []Jump
	// jumps are put at the top of their built-in chains, when all that they lead to is written and the strays are out, which may
	// be the same ones at another place. On legacy a command of its own for each would copy the whole table each time, as long
	// as all the rest together in a large cluster.
	jumps []Jump
	// grows is by how many entries of legacy iptables the table grows with the chains.
	grows int
}

// A chain of legacy iptables has two entries more than rules: its name, and the way back at its end.
const chainEntries = 2

// entries is how many entries of legacy iptables a chain is.
func (s checksum) entries() int { return int(s.rules) + chainEntries }

// growth is how the Counts of a Stamp change with sections.
func growth(v Variant, sections []Section) map[string]int {
	grows := map[string]int{}
	for _, s := range sections {
		switch {
		case s.empty():
		case v == NFT:
			grows[""] += len(s.cut(chunk)) // a transaction for each
		default:
			grows[s.table] += s.grows + len(s.jumps) - len(s.strays)
		}
	}
	return grows
}

func (s Section) empty() bool {
	return len(s.write) == 0 && len(s.clear) == 0 && len(s.remove) == 0 && len(s.jumps) == 0 && len(s.strays) == 0
}

// appendTo writes the section as input for iptables-restore. A chain that is named at the top is made, or emptied; one that
// goes must be empty, and nothing may lead to it any more.
func (s Section) appendTo(text []byte) []byte {
	if s.empty() {
		return text
	}
	text = slices.Grow(text, s.size())
	text = append(text, '*')
	text = append(text, s.table...)
	text = append(text, '\n')
	for _, c := range s.write {
		text = appendDeclaration(text, c.name)
	}
	for _, name := range slices.Concat(s.clear, s.remove) {
		text = appendDeclaration(text, name)
	}
	for _, c := range s.write {
		text = append(text, c.text...)
	}
	for _, j := range s.strays {
		text = fmt.Appendf(text, "-D %s %s\n", j.From, j.rule())
	}
	for _, j := range s.jumps {
		text = fmt.Appendf(text, "-I %s 1 %s\n", j.From, j.rule())
	}
	for _, name := range s.remove {
		text = append(text, "-X "...)
		text = append(text, name...)
		text = append(text, '\n')
	}
	return append(text, "COMMIT\n"...)
}

// size is how long the text is, about: the first load of a large cluster has tens of megabytes, which are better not copied
// while they grow.
func (s Section) size() int {
	const line = 2 * MaxChainName
	n := line * (2 + len(s.clear) + 2*len(s.remove) + len(s.jumps) + len(s.strays))
	for _, c := range s.write {
		n += line + len(c.text)
	}
	return n
}

func appendDeclaration(text []byte, name string) []byte {
	text = append(text, ':')
	text = append(text, name...)
	return append(text, " - [0:0]\n"...)
}

// chunk is how many chains the nft variant loads at once: what iptables-nft-restore needs grows with the square of them, and each
// commit has a price of its own.
const chunk = 250

// cut splits a section so that none touches more than most chains. Chains are written children first and the chains that
// lead to others last, so what a part leads to is always there already; then the jumps change. Chains that go are all emptied
// before the first is removed, as they may lead to each other.
func (s Section) cut(most int) []Section {
	if len(s.write)+len(s.remove) <= most {
		return []Section{s}
	}
	var parts []Section
	for part := range slices.Chunk(s.write, most) {
		parts = append(parts, Section{table: s.table, write: part})
	}
	if len(s.jumps)+len(s.strays) > 0 && len(parts) == 0 {
		parts = append(parts, Section{table: s.table})
	}
	if len(parts) > 0 {
		last := &parts[len(parts)-1]
		last.jumps, last.strays = s.jumps, s.strays
	}
	for part := range slices.Chunk(slices.Concat(s.clear, s.remove), most) {
		parts = append(parts, Section{table: s.table, clear: part})
	}
	for part := range slices.Chunk(s.remove, most) {
		parts = append(parts, Section{table: s.table, remove: part})
	}
	return parts
}
