package iptables

import (
	"hash/maphash"
)

// chain is one rendered chain.
type chain struct {
	name string
	text []byte // "-A NAME …\n" for each rule, as iptables-save prints it
	sum  checksum
}

// checksum stands for the rules of a chain: equal ones mean equal text. It holds for this process only.
type checksum uint64

var checksumSeed = maphash.MakeSeed()

// empty is the checksum of a chain without rules.
const empty checksum = 1

// then is the checksum after one more rule, given as its line without the newline.
func (s checksum) then(line []byte) checksum {
	const odd = 0x9E3779B97F4A7C15 // any odd number: it makes the order of rules count
	return s*odd + checksum(maphash.Bytes(checksumSeed, line))
}

// chainWriter renders one chain, rule by rule.
type chainWriter struct {
	chain
	start int // where the rule being written begins
}

func newChain(name string) *chainWriter {
	return &chainWriter{chain: chain{name: name, sum: empty}}
}

// rule writes a rule from its parts, which are put together with blanks between them; empty parts are left out.
func (w *chainWriter) rule(parts ...string) {
	w.begin()
	for _, p := range parts {
		if p != "" {
			w.text = append(w.text, ' ')
			w.text = append(w.text, p...)
		}
	}
	w.end()
}

// begin and end stand around a rule that is appended to text piece by piece, each piece with a blank before it.
func (w *chainWriter) begin() {
	w.start = len(w.text)
	w.text = append(w.text, "-A "...)
	w.text = append(w.text, w.name...)
}

func (w *chainWriter) end() {
	w.sum = w.sum.then(w.text[w.start:])
	w.text = append(w.text, '\n')
}
