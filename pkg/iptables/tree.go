package iptables

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/xtables"
)

// inline is how many entries that share their next digit a tree lists one by one rather than in a chain of their own. A
// chain costs a jump, and on the nft variant much time to load; an entry costs one more comparison.
const inline = 4

// deepest is how many chains a tree has below each other, and deepestChoice how often the endpoints of one Service are cut in
// sixteen, which is enough for 130,000. Whoever may write addresses into objects must not be able to reach the depth that nft
// refuses. Real addresses need four or five.
const (
	deepest       = 6
	deepestChoice = 3
)

// mostJumps is how deep chains may lie below a built-in one: nft refuses 16 (NFT_JUMP_STACK_SIZE), gotos counted. The fixed ones
// are FL-SERVICES, FL-EXTERNAL-IPS, and one each of FL-F-, FL-E-, FL-S- and FL-A-.
const mostJumps = 15

const _ = uint(mostJumps - (6 + deepest + deepestChoice)) // does not compile where it is less than 0

// entry is one thing that a tree finds.
type entry struct {
	key    key
	action string // what to do with a packet that matches the key
}

func compareEntries(x, y entry) int { return strings.Compare(string(x.key), string(y.key)) }

// tree finds the entry that a packet matches among many, in a few steps: each chain decides on the next digit of the key
// in which its entries differ. Which chains there are follows from the entries alone, so that a new entry changes no
// more than the chain it comes into.
type tree struct {
	shape  keyShape
	prefix string // of the names of its chains
}

// rules writes the tree into w, which may hold other rules around it, and returns the chains below it, children first. A
// packet that matches no entry comes out of w's rules again.
func (t tree) rules(w *xtables.ChainWriter, entries []entry) []xtables.Chain {
	slices.SortFunc(entries, compareEntries)
	var below []xtables.Chain
	// Jumps, not gotos: a packet that matches nothing has to come back to the rules behind the tree.
	t.level(w, entries, place{jump: "-j"}, &below)
	return below
}

// ways lists the one match that all entries share, or nothing if there are none.
func (t tree) ways(entries []entry) []string {
	if len(entries) == 0 {
		return nil
	}
	first, last := entries[0].key, entries[0].key
	for _, e := range entries {
		first, last = min(first, e.key), max(last, e.key)
	}
	return []string{t.shape.match(first[:common(first, last)], 0)}
}

// place says where in a tree a chain is.
type place struct {
	depth int
	known int    // a packet that gets there matches so many of the first digits of all its entries
	jump  string // how it leads to chains below it
}

// level writes the rules that decide between entries, which are sorted.
func (t tree) level(w *xtables.ChainWriter, entries []entry, at place, below *[]xtables.Chain) {
	if len(entries) == 0 {
		return
	}
	if at.depth < deepest && !byDigit(entries, at.depth) {
		t.clustered(w, entries, at, below)
		return
	}
	differs := common(entries[0].key, entries[len(entries)-1].key)
	for len(entries) > 0 {
		group := sameDigit(entries, differs)
		entries = entries[len(group):]
		t.group(w, group, at, "", below)
	}
}

// clustered writes the rules that decide between entries which the levels left cannot take digit by digit.
func (t tree) clustered(w *xtables.ChainWriter, entries []entry, at place, below *[]xtables.Chain) {
	most := capacity(at.depth + 1)
	for len(entries) > most*spread { // more than there should be at this depth
		most *= 2
	}
	// The first digits of a cluster can be those of the chain that it is in, so the depth tells their names apart.
	suffix := "-" + strconv.Itoa(at.depth+1)
	for _, group := range clusters(entries, most) {
		t.group(w, group, at, suffix, below)
	}
}

// group writes the rules for entries that have their first digits in common: one for each, or one that leads to a chain of their own.
func (t tree) group(w *xtables.ChainWriter, group []entry, at place, suffix string, below *[]xtables.Chain) {
	if len(group) <= inline || at.depth == deepest {
		for _, e := range group {
			w.Rule(t.shape.match(e.key, at.known), e.action)
		}
		return
	}
	prefix := group[0].key[:common(group[0].key, group[len(group)-1].key)]
	child := xtables.NewChain(t.chainName(prefix, suffix))
	t.level(child, group, place{at.depth + 1, len(prefix), "-g"}, below)
	*below = append(*below, child.Chain)
	w.Rule(t.shape.match(prefix, at.known), at.jump, child.Name())
}

// sameDigit returns the first entries that have one digit in common at the given place. No two keys are equal: a Table
// gives an address to one Service only.
func sameDigit(entries []entry, at int) []entry {
	n := 1
	for n < len(entries) && entries[n].key[at] == entries[0].key[at] {
		n++
	}
	return entries[:n]
}

// chainName names the chain for what begins with some digits. suffix tells those apart that begin with the same ones.
func (t tree) chainName(prefix key, suffix string) string {
	if len(t.prefix)+len(prefix)+len(suffix) <= xtables.MaxChainName {
		return t.prefix + prefix.text() + suffix
	}
	return t.prefix + hash(string(prefix)+suffix, xtables.MaxChainName-len(t.prefix))
}
