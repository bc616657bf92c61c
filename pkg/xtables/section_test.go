package xtables

import (
	"fmt"
	"slices"
	"testing"
)

func TestNoPartOfASectionIsTooMuchForTheNFTVariant(t *testing.T) {
	const most = 10
	in := Jump{Table: "nat", From: "OUTPUT", To: "FL-0"}
	for _, size := range []struct{ write, remove int }{{0, 0}, {most, 0}, {0, most}, {most, 1}, {3*most + 1, 0}, {0, 2*most + 1}, {2 * most, 2 * most}} {
		s := Section{table: "nat", jumps: []Jump{in}}
		for i := range size.write {
			s.write = append(s.write, NewChain(fmt.Sprintf("FL-%d", i)).Chain)
		}
		for i := range size.remove {
			s.remove = append(s.remove, fmt.Sprintf("FL-X-%d", i))
		}
		var written, removed []string
		for i, part := range s.cut(most) {
			if n := max(len(part.write)+len(part.remove), len(part.clear)); n > most {
				t.Errorf("%+v: part %d has %d chains", size, i, n)
			}
			if slices.Contains(part.jumps, in) && (len(written)+len(part.write) != size.write || len(removed) > 0) {
				t.Errorf("%+v: the jump comes with part %d, when %d chains are written and %d removed", size, i, len(written), len(removed))
			}
			written, removed = append(written, Names(part.write)...), append(removed, part.remove...)
		}
		if !slices.Equal(written, Names(s.write)) || !slices.Equal(removed, s.remove) {
			t.Errorf("%+v: written %v, removed %v", size, written, removed)
		}
	}
}

func TestNoPartOfASectionIsEmpty(t *testing.T) {
	s := Section{table: "nat"}
	for i := range 25 {
		s.remove = append(s.remove, fmt.Sprintf("FL-X-%d", i))
	}
	for i, part := range s.cut(10) {
		if part.empty() {
			t.Errorf("part %d is empty", i)
		}
	}
}
