//go:build soak

package churn

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

// Changes are made in epochs, after each of which Fairlead is measured. They are counted, so that every machine has done as much
// work by the end of one.
const (
	epochs       = 5
	epochChanges = 800
)

// TestChurn changes everything at random, under connections to Services that do not change. None of these may fail; nothing may
// be left behind; the rules must be those that a new Fairlead makes of the same objects; and Fairlead must not grow.
func TestChurn(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		c := newChurn(t, variant, rand.Uint64())
		t.Setenv("GODEBUG", "gctrace=1") // for Fairlead: the API server runs already
		c.start()
		var heaps, sizes []int
		for n := range epochs {
			before := len(c.Log.String())
			c.change(epochChanges)
			heap, used := leastHeap(t, c.Log.String()[before:]), measure(t, c.process)
			t.Logf("after %d changes: live heap %d MB, %s", (n+1)*epochChanges, heap, used)
			heaps, sizes = append(heaps, heap), append(sizes, used.rss)
		}
		flat(t, "live heap in MB", heaps)
		flat(t, "resident memory in KiB", sizes)
		c.leavesNothingBehind()
	})
}

// flat checks that the last epoch needed no more than half as much again as one of the first three did, the median. That of all would
// follow a steady growth too closely to show it. The numbers are rounded down.
func flat(t *testing.T, what string, byEpoch []int) {
	t.Helper()
	const first = 3
	median := slices.Sorted(slices.Values(byEpoch[:first]))[first/2]
	if last := byEpoch[len(byEpoch)-1]; 2*last > 3*(median+1) {
		t.Errorf("the %s grows: %d by epoch", what, byEpoch)
	}
}

var collection = regexp.MustCompile(`(?m)^gc [0-9]+ @.* [0-9]+->[0-9]+->([0-9]+) MB,`)

// leastHeap is the smallest heap in MB, rounded down, that a garbage collection found to be live. Others found what a sync in
// progress needed as well.
func leastHeap(t *testing.T, log string) int {
	t.Helper()
	var live []int
	for _, match := range collection.FindAllStringSubmatch(log, -1) {
		mb, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		live = append(live, mb)
	}
	if len(live) == 0 {
		t.Fatal("Fairlead has not collected garbage")
	}
	return slices.Min(live)
}
