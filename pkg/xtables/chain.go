package xtables

import (
	"hash/maphash"
)

// MaxChainName is how many characters a chain's name can have (XT_EXTENSION_MAXNAMELEN, less the final NUL).
const MaxChainName = 28

// Chain is one rendered chain.
type Chain struct {
	name string
	text []byte // "-A NAME …\n" for each rule, as iptables-save prints it
	sum  checksum
}

// Name is the chain's name.
func (c Chain) Name() string { return c.name }

// Text has the rules as iptables-save prints them, each on a line.
func (c Chain) Text() []byte { return c.text }

// Names lists the names of chains.
func Names(chains []Chain) []string {
	list := make([]string, len(chains))
	for i, c := range chains {
		list[i] = c.name
	}
	return list
}

// checksum stands for the rules of a chain: equal ones mean equal text. It holds for this process only.
type checksum struct {
	hash  uint64
	rules uint32 // how many
}

// checksums has the checksum of each chain of one table, by name.
type checksums map[string]checksum

var checksumSeed = maphash.MakeSeed()

// empty is the checksum of a chain without rules.
var empty = checksum{hash: 1}

// then is the checksum after one more rule, given as its line without the newline.
func (s checksum) then(line []byte) checksum {
	const odd = 0x9E3779B97F4A7C15 // any odd number: it makes the order of rules count
	return checksum{s.hash*odd + maphash.Bytes(checksumSeed, line), s.rules + 1}
}

// ChainWriter renders one Chain, rule by rule. Chain is what it has rendered so far.
type ChainWriter struct {
	Chain
}

// NewChain begins a chain, which has no rules at first.
func NewChain(name string) *ChainWriter {
	return &ChainWriter{Chain: Chain{name: name, sum: empty}}
}

// Rule writes a rule from its parts, which are put together with blanks between them; empty parts are left out. All of them are
// spelled as iptables-save does, or the rule never equals what the kernel holds.
func (w *ChainWriter) Rule(parts ...string) {
	text := w.Begin()
	for _, p := range parts {
		if p != "" {
			text = append(text, ' ')
			text = append(text, p...)
		}
	}
	w.End(text)
}

// Begin returns a text that a rule is to be appended to piece by piece, each piece with a blank before it, and then handed to End.
// It is for rules that there are many of: no piece has to be a string of its own.
func (w *ChainWriter) Begin() []byte {
	return append(append(w.text, "-A "...), w.name...)
}

// End takes the text that Begin returned, with the rule appended.
func (w *ChainWriter) End(text []byte) {
	w.sum = w.sum.then(text[len(w.text):])
	text = append(text, '\n')
	w.text = text
}
