package iptables

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

var families = []service.Family{service.IPv4, service.IPv6}

// forEachWorld runs a test on random worlds of both families, with and without a known range of pods.
func forEachWorld(t *testing.T, seeds []uint64, test func(t *testing.T, world *servicetest.World, b *service.Builder, family service.Family)) {
	for _, family := range families {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("%s, seed %d", family, seed), func(t *testing.T) {
				t.Parallel()
				world := servicetest.NewWorld(seed, family)
				options := service.Options{Family: family, NodeName: servicetest.Node, MasqueradeAll: seed%3 == 2}
				options.Pods = world.Pods()
				test(t, world, service.NewBuilder(options), family)
			})
		}
	}
}

// possible is what can become of a packet, in one form for the oracle and the tracer: the chance of each destination, with
// "+m" behind it where the source is rewritten, or of an action.
type possible map[string]float64

func destination(to netip.AddrPort, masquerade bool) string {
	if masquerade {
		return to.String() + "+m"
	}
	return to.String()
}

func oracle(table *service.Table, p service.Packet) possible {
	v := table.Route(p)
	if v.Action != service.Forward {
		return possible{v.Action.String(): 1}
	}
	all := possible{}
	for _, d := range v.Destinations {
		all[destination(d.Endpoint, d.Masquerade)] += 1 / float64(len(v.Destinations))
	}
	return all
}

func traced(rules *tracer.Ruleset, p service.Packet, world *servicetest.World) (possible, error) {
	outcomes, err := rules.Trace(tracer.Packet{
		Protocol:    p.Protocol.String(),
		Source:      netip.AddrPortFrom(p.Source, 40000),
		Destination: p.Destination,
		FromNode:    p.FromNode,
		InInterface: p.Interface,
		Local:       world.NodeAddress,
	})
	if err != nil {
		return nil, err
	}
	all := possible{}
	for _, o := range outcomes {
		switch {
		case o.Action == tracer.Reject:
			all[service.Reject.String()] += o.Probability
		case o.Action == tracer.Drop:
			all[service.Drop.String()] += o.Probability
		case o.DNAT:
			all[destination(o.Destination, o.Masquerade)] += o.Probability
		case o.Masquerade:
			all["pass, but masqueraded"] += o.Probability
		default:
			all[service.Pass.String()] += o.Probability
		}
	}
	return all, nil
}

// sameChances compares chances; the kernel keeps them as multiples of 2^-31, and a walk multiplies a few of them.
var sameChances = cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) < 1e-7 })

func TestRulesDoWhatTheOracleSays(t *testing.T) {
	forEachWorld(t, tier.Seeds(3, 12), func(t *testing.T, world *servicetest.World, builder *service.Builder, family service.Family) {
		k := newKernel()
		b := testBackend(Options{Family: family, MasqueradeBit: 14}, k)
		for round := range 6 {
			for range 40 {
				world.Change(builder)
			}
			table, dirty, _ := builder.Build()
			if err := b.Sync(t.Context(), table, dirty); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				p := world.Packet(table)
				got, err := traced(k.Rules, p, world)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(oracle(table, p), got, sameChances); diff != "" {
					t.Fatalf("round %d, packet %+v (-oracle +rules):\n%s", round, p, diff)
				}
			}
		}
	})
}

func TestManySmallSyncsLeadToTheSameRulesAsOne(t *testing.T) {
	forEachWorld(t, tier.Seeds(3, 12), func(t *testing.T, world *servicetest.World, builder *service.Builder, family service.Family) {
		stepwise := newKernel()
		b := testBackend(Options{Family: family, MasqueradeBit: 14}, stepwise)
		for step := range 120 {
			world.Change(builder)
			table, dirty, _ := builder.Build()
			if err := b.Sync(t.Context(), table, dirty); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			atOnce := newKernel()
			if err := testBackend(Options{Family: family, MasqueradeBit: 14}, atOnce).Sync(t.Context(), table, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(atOnce.Rules.String(), stepwise.Rules.String()); diff != "" {
				t.Fatalf("step %d: rules (-one sync +many):\n%s", step, diff)
			}
		}
		drift, err := b.Verify(t.Context())
		if err != nil || len(drift) > 0 {
			t.Errorf("drift after own syncs: %v %v", drift, err)
		}
	})
}

func TestAFailedSyncLosesNothing(t *testing.T) {
	forEachWorld(t, tier.Seeds(3, 6), func(t *testing.T, world *servicetest.World, builder *service.Builder, family service.Family) {
		k := newKernel()
		b := testBackend(Options{Family: family, MasqueradeBit: 14}, k)
		kept := service.PortSet{}
		var table *service.Table
		for step := range 120 {
			world.Change(builder)
			var dirty service.PortSet
			table, dirty, _ = builder.Build()
			maps.Copy(kept, dirty)
			if step%3 == 0 {
				k.Fail = 1
			}
			if b.Sync(t.Context(), table, kept) == nil {
				kept = service.PortSet{}
			}
		}
		k.Fail = 0
		if err := b.Sync(t.Context(), table, kept); err != nil {
			t.Fatal(err)
		}
		fresh := newKernel()
		if err := testBackend(Options{Family: family, MasqueradeBit: 14}, fresh).Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh.Rules.String(), k.Rules.String()); diff != "" {
			t.Errorf("rules (-never failed +failed):\n%s", diff)
		}
	})
}
