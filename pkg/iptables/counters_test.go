package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// countingCluster is a Backend with counters that has written a cluster.
func countingCluster(t *testing.T) (*service.Builder, *Backend, *xtablestest.Kernel) {
	t.Helper()
	builder, k := small(service.IPv4), newKernel()
	k.Packets = map[string]int{}
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14, Counters: true}, k)
	table, _, _ := builder.Build()
	if err := b.Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	return builder, b, k
}

func httpPort() service.PortName {
	return service.PortName{Namespace: servicetest.Namespace, Name: "web", Port: "http", Protocol: service.TCP}
}

func TestConnectionsAreCountedOnce(t *testing.T) {
	_, b, k := countingCluster(t)
	b.TakeTraffic()
	take := func() map[service.PortName]service.Traffic {
		if drift, err := b.Verify(t.Context()); len(drift) > 0 || err != nil {
			t.Fatal(drift, err)
		}
		counts := b.TakeTraffic()
		if counts == nil || counts.Packets {
			t.Fatalf("%+v", counts)
		}
		return counts.Ports
	}
	chain := portChain(prefixCount, httpPort())
	k.Packets[chain] = 7
	if diff := cmp.Diff(map[service.PortName]service.Traffic{httpPort(): {Connections: 7}}, take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if more := take(); len(more) > 0 {
		t.Errorf("counted twice: %v", more)
	}
	if b.TakeTraffic() != nil {
		t.Error("there are counts that have not been read")
	}
}

// TestEveryWayToAnEndpointIsCounted looks at the rules: whatever sends to endpoints counts first.
func TestEveryWayToAnEndpointIsCounted(t *testing.T) {
	_, _, k := countingCluster(t)
	rules := k.Rules.String()
	pools := 0
	for line := range strings.Lines(rules) {
		name, ok := strings.CutPrefix(line, ":")
		if name, _, _ = strings.Cut(name, " "); !ok || !strings.HasPrefix(name, prefixService) && !strings.HasPrefix(name, prefixLocal) {
			continue
		}
		pools++
		first := k.Rules.Rules("nat", name)[0]
		if want := "-j " + prefixCount + name[len(prefixService):]; first != want {
			// The readable part of both names and their hash are the same.
			t.Errorf("the first rule of %s is %q, want %q", name, first, want)
		}
	}
	if pools < 2 {
		t.Errorf("%d pools of endpoints in\n%s", pools, rules)
	}
}

// TestWhatCountsIsNeverWrittenAgain changes endpoints, down to none and up again: the kernel's counters would begin at zero.
func TestWhatCountsIsNeverWrittenAgain(t *testing.T) {
	builder, b, k := countingCluster(t)
	for _, change := range []func(){
		func() {
			builder.SetSlice(servicetest.Slice("web", "web-2", []string{"http:8080"}, "10.244.2.3@node-2"))
		},
		func() {
			builder.DeleteSlice(servicetest.Namespace, "web-1")
			builder.DeleteSlice(servicetest.Namespace, "web-2")
		},
		func() {
			builder.SetSlice(servicetest.Slice("web", "web-1", []string{"http:8080"}, "10.244.2.3@node-2"))
		},
	} {
		k.TakeRestores()
		change()
		table, dirty, _ := builder.Build()
		if err := b.Sync(t.Context(), table, dirty); err != nil {
			t.Fatal(err)
		}
		text := k.TakeRestores()
		if text == "" || strings.Contains(text, ":"+prefixCount) {
			t.Errorf("written:\n%s", text)
		}
	}
	k.TakeRestores()
	builder.DeleteService(servicetest.Namespace, "web")
	table, dirty, _ := builder.Build()
	if err := b.Sync(t.Context(), table, dirty); err != nil {
		t.Fatal(err)
	}
	if text := k.TakeRestores(); !strings.Contains(text, "-X "+portChain(prefixCount, httpPort())) {
		t.Errorf("a Service is deleted, and what counted for it stays:\n%s", text)
	}
}

func TestCountersAreRemovedWhereTheyAreNotWanted(t *testing.T) {
	builder, _, k := countingCluster(t)
	_, want := synced(t, small(service.IPv4), service.IPv4)
	table, _, _ := builder.Build()
	if err := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k).Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Rules.String(), k.Rules.String()); diff != "" {
		t.Errorf("rules of a Backend that never counted and of one after another that did (-never +after):\n%s", diff)
	}
}

// TestCountersChangeNoOutcome holds rules that count against the oracle, and those of many small syncs against those of one.
func TestCountersChangeNoOutcome(t *testing.T) {
	forEachWorld(t, tier.Seeds(2, 6), func(t *testing.T, world *servicetest.World, builder *service.Builder, family service.Family) {
		k, options := newKernel(), Options{Family: family, MasqueradeBit: 14, Counters: true}
		b := testBackend(options, k)
		var table *service.Table
		for round := range 6 {
			for range 20 {
				world.Change(builder)
				var dirty service.PortSet
				table, dirty, _ = builder.Build()
				if err := b.Sync(t.Context(), table, dirty); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 {
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
		atOnce := newKernel()
		if err := testBackend(options, atOnce).Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(atOnce.Rules.String(), k.Rules.String()); diff != "" {
			t.Errorf("rules (-one sync +many):\n%s", diff)
		}
	})
}
