package tracer

import (
	"fmt"
	"net/netip"
)

// flight is all that may change about a packet on its way.
type flight struct {
	src, dst   netip.AddrPort
	mark       uint32
	dnat       bool
	masquerade bool
	snat       netip.Addr
	untracked  bool
}

// lot is a share of all packets: those that came here in the same shape. Where
// a statistic match parts the ways, a lot is split; where the ways meet again,
// lots of the same shape become one. So the work grows with the shapes there
// are and not with the ways through the rules.
type lot struct {
	flight
	chance float64
}

// hook runs a built-in chain and returns the lots that go on to the next one.
func (w *walk) hook(table, name string, lots []lot) []lot {
	t, ok := w.rs.tables[table]
	if !ok || len(lots) == 0 || w.err != nil {
		return lots
	}
	var passed []lot
	if table == "nat" {
		passed, lots = w.pastNAT(lots)
	}
	r := &run{walk: w, table: t, passed: passed}
	c := t.chains[name]
	rest := r.chain(c, lots)
	if c.policy == "DROP" {
		w.finish(Drop, rest)
		rest = nil
	}
	return join(r.passed, rest)
}

// pastNAT picks out the lots which the nat tables do not see: all that do not
// open a connection.
func (w *walk) pastNAT(lots []lot) (past, seen []lot) {
	for _, l := range lots {
		if l.untracked || w.state != stateNew {
			past = append(past, l)
		} else {
			seen = append(seen, l)
		}
	}
	return past, seen
}

// run is the run through one hook of one table.
type run struct {
	*walk
	table  *table
	passed []lot // accepted before the end of the hook
}

// chain runs the lots through a chain and returns those that come out at its
// end or by RETURN. The lots are its own to change.
func (r *run) chain(c *chain, lots []lot) []lot {
	var back []lot
	for i, rule := range c.rules {
		if len(lots) == 0 || r.err != nil {
			break
		}
		hit, miss := r.split(rule, lots)
		if r.err != nil {
			r.err = fmt.Errorf("table %s, chain %s, rule %d (%s): %w", r.table.name, c.name, i+1, rule.text, r.err)
			break
		}
		if len(hit) == 0 {
			lots = miss
			continue
		}
		if rule.to != "" {
			came := r.chain(r.table.chains[rule.to], hit)
			if rule.goes {
				back = join(back, came)
				came = nil
			}
			lots = join(miss, came)
			continue
		}
		next, returned := r.apply(c, i, hit)
		back = join(back, returned)
		lots = join(miss, next)
	}
	return join(back, lots)
}

// split parts the lots that a rule matches from those it does not. Most rules
// match nothing, and then nothing is copied.
func (r *run) split(rule *rule, lots []lot) (hit, miss []lot) {
	first := 0
	for first < len(lots) && !r.matches(rule, &lots[first].flight) {
		first++
	}
	if first == len(lots) || rule.chance == 0 {
		return nil, lots
	}
	if len(lots) == 1 && rule.chance == 1 {
		return lots, nil
	}
	miss = append(miss, lots[:first]...)
	for _, l := range lots[first:] {
		if !r.matches(rule, &l.flight) {
			miss = append(miss, l)
			continue
		}
		if rule.chance < 1 {
			miss = append(miss, lot{flight: l.flight, chance: l.chance * (1 - rule.chance)})
		}
		l.chance *= rule.chance
		hit = append(hit, l)
	}
	return hit, miss
}

func (r *run) matches(rule *rule, f *flight) bool {
	if !rule.header.matches(r.walk, f) {
		return false
	}
	for _, m := range rule.matches {
		if !m.matches(r.walk, f) {
			return false
		}
	}
	return true
}

// apply does what the target of a rule says and returns the lots that go on
// with the next rule and those that leave the chain.
func (r *run) apply(c *chain, at int, hit []lot) (next, returned []lot) {
	rule := c.rules[at]
	if rule.target == nil {
		return hit, nil
	}
	for _, l := range hit {
		v, err := rule.target.apply(r.walk, &l.flight)
		if err != nil {
			r.fail(fmt.Errorf("table %s, chain %s, rule %d (%s): %w", r.table.name, c.name, at+1, rule.text, err))
			return nil, nil
		}
		switch v {
		case verdictNext:
			next = append(next, l)
		case verdictReturn:
			returned = append(returned, l)
		case verdictAccept:
			r.passed = append(r.passed, l)
		case verdictDrop:
			r.finish(Drop, []lot{l})
		case verdictReject:
			r.finish(Reject, []lot{l})
		}
	}
	return next, returned
}

// join puts two lists of lots together, with lots of the same shape made one.
func join(a, b []lot) []lot {
	if len(a) == 0 {
		a, b = b, nil
	}
	if len(a)+len(b) < 2 {
		return a
	}
	joined := make([]lot, 0, len(a)+len(b))
	place := make(map[flight]int, len(a)+len(b))
	for _, list := range [][]lot{a, b} {
		for _, l := range list {
			if at, met := place[l.flight]; met {
				joined[at].chance += l.chance
				continue
			}
			place[l.flight] = len(joined)
			joined = append(joined, l)
		}
	}
	return joined
}
