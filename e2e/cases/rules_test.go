package cases

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// TestRules has the rules of all cases of a group written into a kernel, step after step, reads them back and follows each
// packet through them.
func TestRules(t *testing.T) {
	needsRoot(t)
	for _, variant := range site.Variants {
		for _, group := range Groups(All()) {
			t.Run(fmt.Sprintf("%s/%s", variant, group.Flags), func(t *testing.T) {
				t.Parallel()
				l, err := lab.New(lab.Options{Nodes: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				for _, family := range []service.Family{service.IPv4, service.IPv6} {
					traceGroup(t, &ruler{host: l.Nodes[0], variant: variant, family: family}, group)
				}
			})
		}
	}
}

func traceGroup(t *testing.T, r *ruler, group Group) {
	cluster := newCluster(t, group.Flags, r.family)
	wrong := map[string][]string{} // by case
	for round := range group.Rounds() {
		asked := taking(group, r.family, round)
		for _, c := range asked {
			cluster.take(t, c, round)
		}
		table, dirty, _ := cluster.builder.Build()
		rules, err := r.write(klog.NewContext(t.Context(), klog.Logger{}), table, dirty)
		if err != nil {
			t.Fatalf("%s, step %d: %v", r.family, round+1, err)
		}
		for _, c := range asked {
			for _, p := range probes(t, c, r.family, round) {
				if err := follow(rules, p); err != nil {
					wrong[c.Name] = append(wrong[c.Name], fmt.Sprintf("step %d, %s: want %q: %v", round+1, p.Question.Packet, p.Question.Want, err))
				}
			}
		}
	}
	report(t, group, r.family, wrong)
}

// ruler writes rules into the kernel of a host and reads them back.
type ruler struct {
	host    *lab.Host
	variant string
	family  service.Family
	backend *iptables.Backend
}

func (r *ruler) write(ctx context.Context, table *service.Table, dirty service.PortSet) (*tracer.Ruleset, error) {
	if r.backend == nil {
		r.backend = iptables.New(iptables.Options{Family: r.family, Variant: xtables.Variant(r.variant), MasqueradeBit: 14})
		dirty = nil
	}
	if err := r.host.Do(func() error { return r.backend.Sync(ctx, table, dirty) }); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	program := "iptables-" + r.variant + "-save"
	if r.family == service.IPv6 {
		program = "ip6tables-" + r.variant + "-save"
	}
	saved, err := r.host.Output(ctx, program)
	if err != nil {
		return nil, err
	}
	return tracer.Parse(bytes.NewReader([]byte(saved)))
}

// follow walks a packet through rules.
func follow(rules *tracer.Ruleset, p Probe) error {
	outcomes, err := rules.Trace(tracer.Packet{
		Protocol:    p.Packet.Protocol.String(),
		Source:      netip.AddrPortFrom(p.Packet.Source, 40000),
		Destination: p.Packet.Destination,
		FromNode:    p.Packet.FromNode,
		InInterface: p.Packet.Interface,
		Local:       atlas{family: service.FamilyOf(p.Packet.Source)}.ownedByNode,
	})
	if err != nil {
		return err
	}
	got := Answer{Action: service.Forward}
	for _, o := range outcomes {
		switch {
		case o.Action == tracer.Reject:
			got.Action = service.Reject
		case o.Action == tracer.Drop:
			got.Action = service.Drop
		case !o.DNAT && !o.Masquerade:
			got.Action = service.Pass
		default: // a packet that is masqueraded on its way to where it went anyway is wrong too
			got.Destinations = append(got.Destinations, service.Destination{Endpoint: o.Destination, Masquerade: o.Masquerade})
		}
	}
	if len(outcomes) > 1 && len(got.Destinations) != len(outcomes) {
		return fmt.Errorf("the rules do different things: %v", outcomes)
	}
	if got.String() != p.Want.String() {
		return fmt.Errorf("that is\n%s, got\n%s", p.Want, got)
	}
	return even(outcomes)
}

// even checks that all outcomes are equally likely. The kernel keeps a chance as a multiple of 2^-31, and a walk multiplies a
// few of them.
func even(outcomes []tracer.Outcome) error {
	for _, o := range outcomes {
		if math.Abs(o.Probability-1/float64(len(outcomes))) > 1e-7 {
			return fmt.Errorf("not equally likely: %v", outcomes)
		}
	}
	return nil
}
