package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// One restore writes the rules of all service ports, and one rule that the kernel refuses fails it. So after a refusal the service ports
// are found whose rules the kernel does not take: their chains are tried under other names, which nothing leads to, so that no packet
// notices. They are left out of what is written, and tried again from time to time.

// No service port loses its rules for anything else than a proof: alone, or as the user of a match or target, it has been refused twice,
// while a rule that every kernel takes was taken. Where no proof is found, the Sync fails as a whole, and nothing is taken away.

// The time between two attempts with what the kernel refuses: it doubles up to the longest.
const (
	firstRetry   = time.Second
	longestRetry = 2 * time.Minute
)

// mostTries is how many trials one search for service ports may take, and mostRetries how many one Sync makes with those that were
// refused before. On legacy each copies the whole table, which grows by what is tried, at most by mostPorts service ports.
const (
	mostTries   = 64
	mostRetries = 16
	mostPorts   = 500
)

// errSearchEnds ends a search that has taken mostTries.
var errSearchEnds = errors.New("the search for the service ports whose rules are refused goes on with the next sync")

// refusedRules is something that the kernel does not take.
type refusedRules struct {
	reason error
	wait   time.Duration
	next   time.Time
	port   *service.Port // the service port as it was tried
	bare   bool          // the rules of the service port without endpoints are refused too
}

// refused remembers what the kernel does not take.
type refused struct {
	features map[string]*refusedRules // by module
	ports    map[service.PortName]*refusedRules
}

func (r *refused) feature(f feature, reason error, now time.Time) {
	if r.features == nil {
		r.features = map[string]*refusedRules{}
	}
	reason = fmt.Errorf("its rules need %s, which the kernel does not have: %w", f.module, reason)
	r.features[f.module] = &refusedRules{reason: reason, wait: firstRetry, next: now.Add(firstRetry)}
}

func (r *refused) port(p *service.Port, reason error, now time.Time) {
	if r.ports == nil {
		r.ports = map[service.PortName]*refusedRules{}
	}
	reason = fmt.Errorf("the kernel refuses its rules: %w", reason)
	r.ports[p.Name] = &refusedRules{reason: reason, wait: firstRetry, next: now.Add(firstRetry), port: p}
}

// lacks reports whether the rules of a service port need something that the kernel does not have.
func (r *refused) lacks(p *service.Port) bool {
	return slices.ContainsFunc(features, func(f feature) bool { return r.features[f.module] != nil && f.needs(p) })
}

// again doubles the time until the next attempt.
func (r *refusedRules) again(now time.Time) {
	r.wait = min(2*r.wait, longestRetry)
	r.next = now.Add(r.wait)
}

// trialNames renames chains of service ports to those that are tried.
var trialNames = strings.NewReplacer(prefixService, "FL-s-", prefixLocal, "FL-l-", prefixExternal, "FL-e-", prefixFirewall, "FL-f-",
	prefixGroup, "FL-g-", prefixCount, "FL-k-", prefixAffinity, "FL-a-")

// trial renders what is tried of one service port, by table: its chains, and the ways to it.
func (l layout) trial(t *service.Table, p *service.Port) (nat, filter []xtables.Chain) {
	toNat, toFilter := xtables.NewChain(portChain(prefixTrial, p.Name)), xtables.NewChain(portChain(prefixTrial, p.Name))
	for _, f := range p.Frontends {
		shape := addressShape(l.family, "-d")
		if f.Kind == service.NodePort {
			shape = keyShape{}
		}
		match := shape.match(frontendKey(f, p.Name.Protocol), 0)
		toNat.Rule(match, natAction(p, f))
		if action := l.refusal(p, f); action != "" {
			toFilter.Rule(match, action)
		}
	}
	return append(l.portChains(t, p), toNat.Chain), []xtables.Chain{toFilter.Chain}
}

// holdBack names the service ports of a Table that the kernel is known to refuse. What it is time for is tried again.
func (b *Backend) holdBack(ctx context.Context, t *service.Table) service.Unwritten {
	held := service.Unwritten{}
	for _, f := range features {
		known := b.refused.features[f.module]
		if known == nil {
			continue
		}
		users := slices.DeleteFunc(slices.Clone(t.Ports), func(p *service.Port) bool { return !f.needs(p) })
		if len(users) > 0 && b.taken(ctx, known, func() error { return b.rules.Try(ctx, f.table, []xtables.Chain{f.trial()}, trialNames) }) {
			delete(b.refused.features, f.module)
			continue
		}
		for _, p := range users {
			held[p.Name] = known.reason
		}
	}
	var due []*service.Port
	for _, name := range slices.SortedFunc(maps.Keys(b.refused.ports), service.PortName.Compare) {
		known, p := b.refused.ports[name], t.Port(name)
		switch {
		case p == nil:
			delete(b.refused.ports, name)
		case held[name] == nil:
			held[name] = known.reason
			if !known.next.After(b.now()) || !reflect.DeepEqual(known.port, p) {
				due = append(due, p)
			}
		}
	}
	b.retry(ctx, t, due)
	maps.DeleteFunc(held, func(name service.PortName, _ error) bool {
		p := t.Port(name)
		return b.refused.ports[name] == nil && !b.refused.lacks(p)
	})
	return held
}

// retry tries service ports again that were refused: all at once, and only where that fails one by one. Those that the kernel takes now are
// no longer refused. One that has changed since it was tried does not have to wait.
func (b *Backend) retry(ctx context.Context, t *service.Table, due []*service.Port) {
	slices.SortStableFunc(due, func(x, y *service.Port) int {
		return b.refused.ports[x.Name].next.Compare(b.refused.ports[y.Name].next)
	})
	s := search{backend: b, table: t, most: mostRetries, again: true, found: service.Unwritten{}, taken: service.PortSet{}}
	if err := s.all(ctx, due); err != nil {
		klog.FromContext(ctx).V(2).Info("Not all rules that were refused could be tried again", "reason", err)
	}
	for _, p := range due {
		known := b.refused.ports[p.Name]
		if _, ok := s.taken[p.Name]; ok {
			delete(b.refused.ports, p.Name)
		} else if s.found[p.Name] != nil {
			known.bare = known.bare && reflect.DeepEqual(known.port, p)
			known.port = p
			known.again(b.now())
		}
	}
}

// taken reports whether the kernel now takes what it has refused. It is not asked before it is time.
func (b *Backend) taken(ctx context.Context, known *refusedRules, try func() error) bool {
	if known.next.After(b.now()) {
		return false
	}
	err := try()
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The kernel still refuses rules", "reason", err)
		known.again(b.now())
	}
	return err == nil
}

// try asks the kernel whether it takes the rules of service ports.
func (b *Backend) try(ctx context.Context, t *service.Table, ports ...*service.Port) error {
	var nat, filter []xtables.Chain
	for _, p := range ports {
		if p == nil {
			continue
		}
		n, f := b.layout.trial(t, p)
		nat, filter = append(nat, n...), append(filter, f...)
	}
	if err := b.rules.Try(ctx, "nat", nat, trialNames); err != nil {
		return err
	}
	return b.rules.Try(ctx, "filter", filter, trialNames)
}

// control asks the kernel whether it takes a rule that every kernel takes, in the same way as all others. Where it does not, no refusal is
// due to what is refused.
func (b *Backend) control(ctx context.Context) error {
	w := xtables.NewChain(prefixTrial + "-" + hash("control", hashLength))
	w.Rule("-j ACCEPT")
	for _, table := range []string{"nat", "filter"} {
		if err := b.rules.Try(ctx, table, []xtables.Chain{w.Chain}, trialNames); err != nil {
			return fmt.Errorf("no rule is taken at all: %v", err) //nolint:errorlint // this is no refusal
		}
	}
	return nil
}

// proven asks the kernel twice whether it takes something. What it refuses twice is refused, unless it takes nothing else either.
func (b *Backend) proven(ctx context.Context, try func() error) (refusal, err error) {
	for range 2 {
		if refusal = try(); !isRefusal(refusal) {
			return nil, refusal
		}
		if err := b.control(ctx); err != nil {
			return nil, err
		}
	}
	return refusal, nil
}

// findRefused remembers which service ports among some the kernel refuses, and reports whether there are any. What it has found before an
// error is remembered too.
func (b *Backend) findRefused(ctx context.Context, t *service.Table, ports []*service.Port) (found bool, err error) {
	ports = slices.DeleteFunc(slices.Clone(ports), func(p *service.Port) bool { return len(p.Frontends) == 0 })
	if err := b.control(ctx); err != nil {
		return false, err
	}
	for _, f := range features {
		if !slices.ContainsFunc(ports, f.needs) {
			continue
		}
		refusal, err := b.proven(ctx, func() error { return b.rules.Try(ctx, f.table, []xtables.Chain{f.trial()}, trialNames) })
		if err != nil {
			return false, err
		}
		if refusal != nil {
			b.refused.feature(f, refusal, b.now())
			found = true
			ports = slices.DeleteFunc(ports, f.needs)
		}
	}
	s := search{backend: b, table: t, most: mostTries, found: service.Unwritten{}, taken: service.PortSet{}}
	err = s.all(ctx, ports)
	for name, reason := range s.found {
		b.refused.port(t.Port(name), reason, b.now())
		found = true
	}
	return found, err
}

// isRefusal tells a refusal of rules from other errors of a restore.
func isRefusal(err error) bool { return errors.Is(err, xtables.ErrRefused) }
