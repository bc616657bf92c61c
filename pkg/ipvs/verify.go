package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// budget is how long one call of Verify looks at what grows with the Services, on average: at the usual sync period of 30 s, a third of a
// percent of one CPU, however many there are. What it did not come to is left for the next one.
const budget = 100 * time.Millisecond

// atOnce is how many virtual servers' real servers are compared between two looks at the clock.
const atOnce = 32

// check compares one part of the kernel with what it should hold.
type check func(context.Context) (drift []string, err error)

// Verify compares the kernel with what the last Sync wrote, and names what differs: at each call that without which nothing works, and a
// part of the rest. It changes nothing.
func (b *Backend) Verify(ctx context.Context) (drift []string, err error) {
	if b.table == nil {
		return nil, nil
	}
	for _, c := range []check{b.kernel.rules.Verify, b.verifyRule} {
		found, err := c(ctx)
		if err != nil {
			return drift, err
		}
		drift = append(drift, found...)
	}
	if len(b.round) == 0 {
		b.round = b.newRound()
	}
	for b.credit = min(b.credit+budget, budget); len(b.round) > 0 && b.credit > 0; {
		start := time.Now()
		found, err := b.round[0](ctx)
		b.credit -= time.Since(start)
		if err != nil {
			return drift, err
		}
		drift = append(drift, found...)
		b.round = b.round[1:]
	}
	return drift, nil
}

func (b *Backend) newRound() []check {
	round := []check{b.verifyRoutes, b.verifyServers}
	for id := range setCount {
		if b.lacking[id] != nil {
			continue
		}
		round = append(round, func(context.Context) ([]string, error) { return b.verifySet(id) })
	}
	for part := range slices.Chunk(slices.SortedFunc(maps.Keys(b.held.servers), compareKeys), atOnce) {
		round = append(round, func(context.Context) ([]string, error) { return b.verifyReal(part) })
	}
	return round
}

func (b *Backend) verifyRule(context.Context) ([]string, error) {
	ruled, err := b.kernel.routes.Ruled()
	if err != nil || ruled {
		return nil, err
	}
	return []string{"the routing rule for packets to virtual IPs is gone"}, nil
}

func (b *Backend) verifyRoutes(context.Context) ([]string, error) {
	list, err := b.kernel.routes.List()
	if err != nil {
		return nil, err
	}
	return differences("route to", b.held.routes, set(list)), nil
}

func (b *Backend) verifySet(id setID) ([]string, error) {
	s := definition(b.options.Family, id)
	list, err := b.kernel.sets.List(s)
	if errors.Is(err, errNotFound) {
		return []string{fmt.Sprintf("set %s is gone", s.name)}, nil
	}
	if err != nil {
		return nil, err
	}
	return differences("entry of set "+s.name, b.held.contents[id], set(list)), nil
}

// differences names what is in one set and not in the other.
func differences[T comparable](what string, want, have map[T]struct{}) []string {
	var drift []string
	for e := range want {
		if _, is := have[e]; !is {
			drift = append(drift, fmt.Sprintf("%s %v is gone", what, e))
		}
	}
	for e := range have {
		if _, is := want[e]; !is {
			drift = append(drift, fmt.Sprintf("%s %v does not belong there", what, e))
		}
	}
	slices.Sort(drift)
	return drift
}

func (b *Backend) verifyServers(context.Context) ([]string, error) {
	list, err := b.kernel.servers.List()
	if err != nil {
		return nil, err
	}
	b.traffic.read(b.kernel.servers.Statistics(), b.portAt)
	var drift []string
	seen := map[key]struct{}{}
	for _, s := range list {
		h := b.held.servers[s.key]
		switch {
		case h == nil && s.ours() && !b.excluded(s.key):
			drift = append(drift, fmt.Sprintf("virtual server %s does not belong there", s.key))
		case h != nil && h.virtualServer != s && !b.fails(s.key): // after a refused change, the kernel has less than before
			drift = append(drift, fmt.Sprintf("virtual server %s has been changed", s.key))
		}
		seen[s.key] = struct{}{}
	}
	for k := range b.held.servers {
		if _, is := seen[k]; !is {
			drift = append(drift, fmt.Sprintf("virtual server %s is gone", k))
		}
	}
	slices.Sort(drift)
	return drift, nil
}

func (b *Backend) verifyReal(keys []key) ([]string, error) {
	var drift []string
	for _, k := range keys {
		h := b.held.servers[k]
		if h == nil {
			continue // it has gone since the round began
		}
		have, err := b.kernel.servers.ListReal(k)
		if err != nil {
			return drift, err
		}
		if !maps.Equal(weights(have), h.real) {
			drift = append(drift, fmt.Sprintf("virtual server %s has other real servers", k))
		}
	}
	return drift, nil
}

// fails reports whether something could not be written at a virtual server, at a frontend or an alias.
func (b *Backend) fails(k key) bool {
	if owner, ok := b.aliases[k]; ok {
		k = owner
	}
	return b.failing[k] != nil
}
