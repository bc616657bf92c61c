package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// The time between two attempts with what the kernel refuses: it doubles up to the longest.
const (
	firstRetry   = time.Second
	longestRetry = 2 * time.Minute
)

// mostTries is how many restores one search for service ports may take, and mostRetries how many service ports that were refused one Sync
// tries again. On legacy each copies the whole table.
const (
	mostTries   = 64
	mostRetries = 8
)

// refusedRules is something that the kernel does not take.
type refusedRules struct {
	reason error
	wait   time.Duration
	next   time.Time
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
	r.features[f.module] = &refusedRules{fmt.Errorf("its rules need %s, which the kernel does not have: %w", f.module, reason), firstRetry, now.Add(firstRetry)}
}

func (r *refused) port(name service.PortName, reason error, now time.Time) {
	if r.ports == nil {
		r.ports = map[service.PortName]*refusedRules{}
	}
	r.ports[name] = &refusedRules{fmt.Errorf("the kernel refuses its rules: %w", reason), firstRetry, now.Add(firstRetry)}
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
	retries := 0
	for _, name := range slices.SortedFunc(maps.Keys(b.refused.ports), service.PortName.Compare) {
		known, p := b.refused.ports[name], t.Port(name)
		switch {
		case p == nil:
			delete(b.refused.ports, name)
			continue
		case retries == mostRetries || held[name] != nil:
		default:
			due := !known.next.After(b.now())
			if b.taken(ctx, known, func() error { return b.try(ctx, t, p) }) {
				delete(b.refused.ports, name)
				continue
			}
			if due {
				retries++
			}
		}
		held[name] = known.reason
	}
	return held
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
		n, f := b.layout.trial(t, p)
		nat, filter = append(nat, n...), append(filter, f...)
	}
	if err := b.rules.Try(ctx, "nat", nat, trialNames); err != nil {
		return err
	}
	return b.rules.Try(ctx, "filter", filter, trialNames)
}

// search finds the service ports among some whose rules the kernel refuses.
type search struct {
	backend *Backend
	table   *service.Table
	tries   int
	found   service.Unwritten
}

// findRefused remembers which service ports among some the kernel refuses, and reports whether there are any.
func (b *Backend) findRefused(ctx context.Context, t *service.Table, ports []*service.Port) (found bool, err error) {
	ports = slices.DeleteFunc(slices.Clone(ports), func(p *service.Port) bool { return len(p.Frontends) == 0 })
	for _, f := range features {
		if !slices.ContainsFunc(ports, f.needs) {
			continue
		}
		err := b.rules.Try(ctx, f.table, []xtables.Chain{f.trial()}, trialNames)
		if isRefusal(err) {
			b.refused.feature(f, err, b.now())
			found = true
			ports = slices.DeleteFunc(ports, f.needs)
		} else if err != nil {
			return false, err
		}
	}
	s := search{backend: b, table: t, found: service.Unwritten{}}
	if err := s.among(ctx, ports); err != nil {
		return false, err
	}
	for name, reason := range s.found {
		b.refused.port(name, reason, b.now())
		found = true
	}
	return found, nil
}

// isRefusal tells a refusal of rules from other errors of a restore.
func isRefusal(err error) bool { return errors.Is(err, xtables.ErrRefused) }

// among finds the refused ones among ports: it asks for all of them, then for the one that the error names, then for each half.
func (s *search) among(ctx context.Context, ports []*service.Port) error {
	for len(ports) > 0 {
		err := s.try(ctx, ports...)
		switch {
		case err == nil:
			return nil
		case !isRefusal(err):
			return err
		case len(ports) == 1 || s.tries >= mostTries:
			for _, p := range ports {
				s.found[p.Name] = err
			}
			return nil
		}
		if named := slices.IndexFunc(ports, func(p *service.Port) bool { return s.names(err, p) }); named >= 0 {
			if alone := s.try(ctx, ports[named]); isRefusal(alone) {
				s.found[ports[named].Name] = alone
				ports = slices.Delete(slices.Clone(ports), named, named+1)
				continue
			}
		}
		if err := s.among(ctx, ports[:len(ports)/2]); err != nil {
			return err
		}
		ports = ports[len(ports)/2:]
	}
	return nil
}

func (s *search) try(ctx context.Context, ports ...*service.Port) error {
	s.tries++
	return s.backend.try(ctx, s.table, ports...)
}

// names reports whether an error is about a chain of a service port.
func (s *search) names(err error, p *service.Port) bool {
	var refused xtables.RestoreError
	if !errors.As(err, &refused) || refused.Chain == "" {
		return false
	}
	nat, filter := s.backend.layout.trial(s.table, p)
	return slices.ContainsFunc(slices.Concat(nat, filter), func(c xtables.Chain) bool { return trialNames.Replace(c.Name()) == refused.Chain })
}
