package tracer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// validate does what the kernel does with a table at COMMIT: it follows all
// jumps from every built-in chain and refuses loops and extensions that cannot
// work at the hook. Chains that nothing reaches may hold anything.
func (t *table) validate() error {
	for _, hook := range builtinChains[t.name] {
		s := &search{table: t, hook: hook, open: map[string]bool{}, done: map[string]bool{}}
		if err := s.visit(t.chains[hook]); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	return nil
}

// search is a walk over all chains a hook reaches.
type search struct {
	table *table
	hook  string
	path  []string // the chains between the hook and here
	open  map[string]bool
	done  map[string]bool
}

func (s *search) visit(c *chain) error {
	s.path = append(s.path, c.name)
	s.open[c.name] = true
	for _, r := range c.rules {
		if err := s.checkRule(r); err != nil {
			return fmt.Errorf("chain %s, rule %q: %w", c.name, r.text, err)
		}
		if r.to == "" || s.done[r.to] {
			continue
		}
		if s.open[r.to] {
			loop := s.path[slices.Index(s.path, r.to):]
			return fmt.Errorf("loop of chains: %s -> %s", strings.Join(loop, " -> "), r.to)
		}
		to, ok := s.table.chains[r.to]
		if !ok {
			return errors.New("there is no chain " + r.to)
		}
		if err := s.visit(to); err != nil {
			return err
		}
	}
	s.path = s.path[:len(s.path)-1]
	delete(s.open, c.name)
	s.done[c.name] = true
	return nil
}

func (s *search) checkRule(r *rule) error {
	if l, ok := r.target.(limited); ok {
		if err := l.limits().checkHook(s.hook); err != nil {
			return fmt.Errorf("-j %s: %w", r.target.name(), err)
		}
	}
	for _, m := range r.matches {
		if l, ok := m.(limited); ok {
			if err := l.limits().checkHook(s.hook); err != nil {
				return fmt.Errorf("-m %s: %w", m.name(), err)
			}
		}
	}
	return nil
}
