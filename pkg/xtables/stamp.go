package xtables

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sys/unix"
)

// Stamp tells two states of the kernel's rules apart without reading them.
type Stamp struct {
	// Text is another one after each change on the nft variant. On legacy it may be the same where neither the number of rules nor their
	// size has changed.
	Text string
	// Count is what a change makes foreseeable: how many entries each table has on legacy, and under "" the number of the last
	// transaction on nft.
	Count map[string]int
}

// unwatched is a Stamp that the kernel never has.
var unwatched = Stamp{}

// Reading everything costs 0.3 s for 10,000 Services on legacy, and some seconds on nft.
const (
	// budget is how much processor time one call of Verify uses on average for readings that find nothing: at the usual sync period of
	// 30 s, a third of a percent of one CPU, however often other programs change their own rules. A flush is found by every call.
	budget = 100 * time.Millisecond
	// burst is how far such readings may exceed the budget, so that changes are looked at by the next call unless they keep coming.
	burst = time.Second
	// countBudget is the same for readings that nothing but the counters of packets asks for. Without one of its own, the counts of a large
	// cluster would be many minutes old, or a change would wait as long to be looked at.
	countBudget = 500 * time.Millisecond
	// longestDebt is how many calls of Verify at the most pay off what readings have cost beyond their budget: ten minutes at the usual
	// sync period. A reading that costs more than that is then paid for in part only, so that a change is looked at in the end even where
	// other programs never stop changing rules, such as those of the other IP family on nft, which shares the stamp.
	longestDebt = 20
	// fullPeriod is how often everything is read although the stamp is the same, where that proves little.
	fullPeriod = 10 * time.Minute
	// fullShare bounds what that costs, as a part of one CPU: one in so many.
	fullShare = 2000
)

// watch knows whether the kernel may hold anything else than what the Ruleset believes.
type watch struct {
	stamp Stamp // of what the Ruleset believes; unwatched where that is not known
	read  time.Time
	cost  time.Duration // of the last reading
	// How much processor time Verify has used beyond its budget: because something has changed, and for the counters alone.
	spent, spentCounting time.Duration
	hooked               Stamp // when all jumps were last seen in place; see Ruleset.unhooked
}

// current is the kernel's stamp, or unwatched where it has none: then everything has to be read, which says more about the reason.
func current(ctx context.Context, k Kernel) Stamp {
	s, err := k.Stamp(ctx)
	if err != nil {
		return unwatched
	}
	return s
}

// reads wraps a reading of the whole kernel, after which nothing else than what was read can be there unnoticed.
func (w *watch) reads(ctx context.Context, k Kernel, read func() error) error {
	before, start, used := current(ctx, k), time.Now(), processorTime()
	w.stamp = unwatched
	if err := read(); err != nil {
		return err
	}
	w.read, w.cost = time.Now(), min(time.Since(start), processorTime()-used)
	if current(ctx, k).Text == before.Text {
		w.stamp = before
	}
	return nil
}

// writes wraps a change of the kernel that grows each Count as given. Where anything else has come of it, somebody else has changed
// something at the same time.
func (w *watch) writes(ctx context.Context, k Kernel, grows map[string]int, write func() error) error {
	before := current(ctx, k)
	known := before.Text != "" && before.Text == w.stamp.Text
	w.stamp = unwatched
	if err := write(); err != nil {
		return err
	}
	after := current(ctx, k)
	if !known {
		return nil
	}
	foreseen := maps.Clone(before.Count)
	for name, n := range grows {
		foreseen[name] += n
	}
	if maps.Equal(foreseen, after.Count) {
		w.stamp = after
	}
	return nil
}

// processorTime is what the process and the programs that it ran have used so far. On a busy machine it says better than a clock what a
// reading costs.
func processorTime() time.Duration {
	var used time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err == nil { // it fails for an unknown who only
			used += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return used
}

// due reports whether Verify has a reason to read the kernel now, and whether it may already do so.
func (w *watch) due(ctx context.Context, k Kernel) (due, may bool) {
	w.spent = max(0, w.spent-budget)
	now := current(ctx, k)
	if now.Text != "" && now.Text == w.stamp.Text && (k.Variant() == NFT || time.Since(w.read) < max(fullPeriod, fullShare*w.cost)) {
		return false, false
	}
	return true, w.spent < burst
}

// spend takes the cost of the last reading from the budget for changes, or from that for counters.
func (w *watch) spend(counting bool) {
	if counting {
		w.spentCounting = min(w.spentCounting+w.cost, longestDebt*countBudget)
	} else {
		w.spent = min(w.spent+w.cost, burst+longestDebt*budget)
	}
}

// mayCount reports whether Verify may read the kernel for the counters alone.
func (w *watch) mayCount() bool {
	w.spentCounting = max(0, w.spentCounting-countBudget)
	return w.spentCounting == 0
}
