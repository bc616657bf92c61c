package iptables

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// search finds the service ports among some whose rules the kernel refuses. It ends with errSearchEnds after so many trials; what it has
// found by then is true.
type search struct {
	backend     *Backend
	table       *service.Table
	tries, most int
	// again: the service ports have been proven to be refused, and one refusal tells that they still are.
	again bool
	found service.Unwritten // refused alone
	taken service.PortSet
}

// all searches among ports, in parts: the table that they are tried in grows by them.
func (s *search) all(ctx context.Context, ports []*service.Port) error {
	for part := range slices.Chunk(ports, mostPorts) {
		if _, err := s.among(ctx, part, false); err != nil {
			return err
		}
	}
	return nil
}

// among asks for all of some ports, then for the one that the error names, then for each half. It reports whether any are refused. refused
// says that they were refused together before, and need not be asked for again.
func (s *search) among(ctx context.Context, ports []*service.Port, refused bool) (found bool, err error) {
	switch {
	case len(ports) == 0:
		return false, nil
	case len(ports) == 1:
		return s.alone(ctx, ports[0])
	case !refused:
		err := s.try(ctx, ports...)
		if !isRefusal(err) {
			return false, err
		}
		if named := slices.IndexFunc(ports, func(p *service.Port) bool { return s.names(err, p) }); named >= 0 {
			one, err := s.alone(ctx, ports[named])
			if err != nil {
				return one, err
			}
			rest, err := s.among(ctx, slices.Delete(slices.Clone(ports), named, named+1), !one)
			return one || rest, err
		}
	}
	first, err := s.among(ctx, ports[:len(ports)/2], false)
	if err != nil {
		return first, err
	}
	second, err := s.among(ctx, ports[len(ports)/2:], !first)
	return first || second, err
}

// alone reports whether one service port is refused.
func (s *search) alone(ctx context.Context, p *service.Port) (bool, error) {
	refusal, err := s.ask(ctx, p)
	if refusal != nil {
		s.found[p.Name] = refusal
	}
	return refusal != nil, err
}

func (s *search) ask(ctx context.Context, p *service.Port) (refusal, err error) {
	if !s.again {
		return s.backend.proven(ctx, func() error { return s.try(ctx, p) })
	}
	err = s.try(ctx, p)
	if isRefusal(err) {
		return err, nil
	}
	return nil, err
}

func (s *search) try(ctx context.Context, ports ...*service.Port) error {
	if s.tries++; s.tries > s.most {
		return errSearchEnds
	}
	err := s.backend.try(ctx, s.table, ports...)
	if err == nil {
		for _, p := range ports {
			s.taken.Add(p.Name)
		}
	}
	return err
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
