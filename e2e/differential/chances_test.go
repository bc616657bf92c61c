package differential

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
)

// chances is what can become of a packet: how likely each action and each endpoint is.
type chances map[string]float64

// differ says how chances differ from those that the table wants; it is empty if they do not. Kube-proxy writes ten digits.
func (got chances) differ(want chances) string {
	return cmp.Diff(want, got, cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) < 1e-3 }))
}

func to(endpoint netip.AddrPort, masquerade bool) string {
	if masquerade {
		return endpoint.String() + " masqueraded"
	}
	return endpoint.String() + " kept"
}

// wanted is what the table says.
func wanted(a cases.Answer) chances {
	if a.Action != service.Forward {
		return chances{a.Action.String(): 1}
	}
	all := chances{}
	for _, d := range a.Destinations {
		if !a.With.IsValid() {
			all[to(d.Endpoint, d.Masquerade)] += 1 / float64(len(a.Destinations))
		} else if d.Endpoint == a.With {
			all[to(d.Endpoint, d.Masquerade)] = 1
		}
	}
	return all
}

// traced is what rules do.
func traced(rules *tracer.Ruleset, family service.Family, p service.Packet) (chances, error) {
	outcomes, err := rules.Trace(tracer.Packet{
		Protocol:    p.Protocol.String(),
		Source:      netip.AddrPortFrom(p.Source, 40000),
		Destination: p.Destination,
		FromNode:    p.FromNode,
		InInterface: p.Interface,
		Local:       func(a netip.Addr) bool { return slices.Contains(cases.NodeAddresses(family), a) },
	})
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	all := chances{}
	for _, o := range outcomes {
		all[become(o)] += o.Probability
	}
	return all, nil
}

func become(o tracer.Outcome) string {
	switch {
	case o.Action == tracer.Reject:
		return service.Reject.String()
	case o.Action == tracer.Drop:
		return service.Drop.String()
	case o.DNAT:
		return to(o.Destination, o.Masquerade)
	case o.Masquerade:
		return "pass, but masqueraded"
	}
	return service.Pass.String()
}
