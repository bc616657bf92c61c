package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// section is one change to one table: it happens at once or not at all.
type section struct {
	table  string
	write  []chain // children first
	clear  []string
	remove []string
	// jumps are put at the top of their built-in chains, when all that they lead to is written. On legacy a command of its own for
	// each would copy the whole table each time, as long as all the rest together in a large cluster.
	jumps []jump
	// strays are jumps to take out, before what they lead to is removed.
	strays []jump
}

func (s section) empty() bool {
	return len(s.write) == 0 && len(s.clear) == 0 && len(s.remove) == 0 && len(s.jumps) == 0 && len(s.strays) == 0
}

// appendTo writes the section as input for iptables-restore. A chain that is named at the top is made, or emptied; one that
// goes must be empty, and nothing may lead to it any more.
func (s section) appendTo(text []byte) []byte {
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
	for _, j := range s.jumps {
		text = fmt.Appendf(text, "-I %s 1 %s\n", j.from, strings.Join(j.spec(), " "))
	}
	for _, j := range s.strays {
		text = fmt.Appendf(text, "-D %s %s\n", j.from, strings.Join(j.spec(), " "))
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
func (s section) size() int {
	const line = 2 * maxChainName
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

// cut splits a section so that none touches more than most chains. Chains are written children first and the chains that
// lead to others last, so what a part leads to is always there already; then the jumps change. Chains that go are all emptied
// before the first is removed, as they may lead to each other.
func (s section) cut(most int) []section {
	if len(s.write)+len(s.remove) <= most {
		return []section{s}
	}
	var parts []section
	for part := range slices.Chunk(s.write, most) {
		parts = append(parts, section{table: s.table, write: part})
	}
	if len(parts) == 0 {
		parts = append(parts, section{table: s.table})
	}
	last := &parts[len(parts)-1]
	last.jumps, last.strays = s.jumps, s.strays
	for part := range slices.Chunk(slices.Concat(s.clear, s.remove), most) {
		parts = append(parts, section{table: s.table, clear: part})
	}
	for part := range slices.Chunk(s.remove, most) {
		parts = append(parts, section{table: s.table, remove: part})
	}
	return parts
}
