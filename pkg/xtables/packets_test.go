package xtables

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestPacketsAreThoseSinceTheFirstReading(t *testing.T) {
	type counts = map[string]uint64
	var p packets
	for _, step := range []struct {
		what      string
		now, want counts
	}{
		{"what an earlier process saw does not count", counts{"a": 100}, counts{}},
		{"more of it does", counts{"a": 103}, counts{"a": 3}},
		{"a new chain counts in full", counts{"a": 103, "b": 5}, counts{"b": 5}},
		{"so does one that began at zero again", counts{"a": 2, "b": 5}, counts{"a": 2}},
		{"a chain that is gone does not", counts{"b": 6}, counts{"b": 1}},
		{"nothing", nil, counts{}},
	} {
		p.read(step.now)
		if diff := cmp.Diff(step.want, p.more); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		p.more = nil
	}
	p = packets{}
	p.read(nil) // there are no chains of ours yet
	p.read(counts{"a": 4})
	if p.more["a"] != 4 {
		t.Errorf("the packets of a chain that was made after the first reading: %v", p.more)
	}
}

// TestCountersChangeNoRule reads the same rules with counters and without.
func TestCountersChangeNoRule(t *testing.T) {
	const rules = `*nat
:PREROUTING ACCEPT [1:60]
:FL-K-ONE - [0:0]
:FL-TWO - [0:0]
-A PREROUTING -j FL-TWO
-A FL-K-ONE
-A FL-K-ONE -j RETURN
-A FL-TWO -j FL-K-ONE
COMMIT
`
	var counted strings.Builder
	n := 0
	for line := range strings.Lines(rules) {
		if strings.HasPrefix(line, "-A ") {
			n++
			line = fmt.Sprintf("[%d:%d] %s", n, 60*n, line)
		}
		counted.WriteString(line)
	}
	owner := Owner{Prefix: "FL-", Ours: func(string) bool { return true }, Counted: "FL-K-"}
	with, err := readSaved(strings.NewReader(counted.String()), owner)
	if err != nil {
		t.Fatal(err)
	}
	without, err := readSaved(strings.NewReader(rules), owner)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"FL-K-ONE": 2}, with.packets); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	with.packets = nil
	if diff := cmp.Diff(without, with, cmp.AllowUnexported(saved{}, checksum{})); diff != "" {
		t.Errorf("rules (-without counters +with):\n%s", diff)
	}
}

// TestVerifyReadsWhereItCounts looks at a kernel in which nothing has changed but the counters.
func TestVerifyReadsWhereItCounts(t *testing.T) {
	for _, v := range []Variant{Legacy, NFT} {
		t.Run(string(v), func(t *testing.T) {
			g := newRig(t, service.IPv4, v)
			g.owner.Counted = "FL-TWO"
			g.verify(1, 0)
			g.watch.spentCounting = 10 * countBudget
			g.verify(0, 0)
			g.somebody("-t nat -N THEIRS")
			g.verify(1, 0) // what others change is looked at all the same
			g.watch.spentCounting = 0
			g.verify(1, 0)
		})
	}
}
