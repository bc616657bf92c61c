package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// level is the chance below which a spread is held for unfair.
const level = 0.001

// tally is who answered how often by one way.
type tally struct {
	way     way
	family  lab.Family
	members []pod // who has to answer
	counts  map[netip.AddrPort]int
	total   int
	failed  []error
}

// measure counts the connections by each way from now on. A fair spread falls below the level once in a thousand times, and so
// an uneven one is looked at again: twice in a row is no chance.
func (d *demo) measure(ctx context.Context, f lab.Family, p phase, streams []*traffic) ([]tally, error) {
	for looks := 1; ; looks++ {
		began := time.Now()
		var tallies []tally
		for _, s := range streams {
			var t tally
			err := await(ctx, s.String(), func() error {
				outcomes := s.since(began)
				t = tally{s.way, f, p.members, count(outcomes), len(outcomes), failures(outcomes)}
				if len(t.failed) == 0 && t.total < connections {
					return fmt.Errorf("only %d connections have ended", t.total)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			tallies = append(tallies, t)
		}
		if looks == 2 || !slices.ContainsFunc(tallies, func(t tally) bool { return t.even() < level }) {
			return tallies, nil
		}
		d.say("   The spread is uneven, which chance makes it once in %.0f times; counting again.", 1/level)
	}
}

// even is the chance that a fair spread is at least as uneven as this one.
func (t tally) even() float64 { return lab.Even(t.counts, len(t.members)) }

// check tells whether all of the members and nobody else got connections, and the same chance each.
func (t tally) check() error {
	if len(t.failed) > 0 {
		return fmt.Errorf("%s: %d of %d connections failed, the first: %w", t.way, len(t.failed), t.total, t.failed[0])
	}
	strangers := maps.Clone(t.counts)
	for _, p := range t.members {
		if t.counts[p.server(t.family)] == 0 {
			return fmt.Errorf("%s: %s got none of %d connections", t.way, p.name, t.total)
		}
		delete(strangers, p.server(t.family))
	}
	for server, n := range strangers {
		return fmt.Errorf("%s: %s is not behind the Service and got %d of %d connections", t.way, server, n, t.total)
	}
	if p := t.even(); p < level {
		return fmt.Errorf("%s: the spread over the pods is not fair, with a p-value of %.2g", t.way, p)
	}
	return nil
}

// chartOf shows who of the given pods got how many, with a column for each way.
func chartOf(tallies []tally, pods []pod) string {
	var c chart
	for _, p := range pods {
		c.rows = append(c.rows, p.name+" on "+p.node)
	}
	for _, t := range tallies {
		column := column{head: t.way.kind + " " + t.way.to.String()}
		for _, p := range pods {
			column.counts = append(column.counts, t.counts[p.server(t.family)])
		}
		c.columns = append(c.columns, column)
	}
	return c.String()
}

// fairness says how the spreads compare with chance.
func fairness(tallies []tally) string {
	least := 1.0
	for _, t := range tallies {
		least = min(least, t.even())
	}
	if least < level {
		return fmt.Sprintf("The spread is not fair (p = %.2g).", least)
	}
	return fmt.Sprintf("The spread is as even as chance allows (p >= %.2g).", least)
}
