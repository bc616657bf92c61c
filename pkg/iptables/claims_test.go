package iptables

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// weakHash makes names of service ports collide all the time.
func weakHash(t *testing.T, names int) {
	strong := identityHash
	t.Cleanup(func() { identityHash = strong })
	identityHash = func(text string) string {
		n := 0
		for _, r := range text {
			n = (n*31 + int(r)) % names
		}
		return fmt.Sprintf("%016s", strings.Repeat("A", 14)+string(rune('A'+n/26%26))+string(rune('A'+n%26)))
	}
}

// unwritten is what a Sync left out. Any other error ends the test.
func unwritten(t *testing.T, err error) service.Unwritten {
	t.Helper()
	var left service.Unwritten
	if err != nil && !errors.As(err, &left) {
		t.Fatal(err)
	}
	return left
}

func TestNamesFoundBySearchDoNotCollide(t *testing.T) {
	// The first 55 bits of the hashes of these two are the same.
	x := service.PortName{Namespace: "mallory", Name: "collide", Port: "p6wcshd4vj6h", Protocol: service.TCP}
	y := x
	y.Port = "pvr42hxdn7nw"
	for _, kind := range []string{prefixService, prefixLocal, prefixExternal, prefixFirewall, prefixAffinity, prefixCount} {
		if portChain(kind, x) == portChain(kind, y) {
			t.Errorf("both have the chain %s", portChain(kind, x))
		}
		if n := len(portChain(kind, x)); n > 28 {
			t.Errorf("%s has %d characters", portChain(kind, x), n)
		}
	}
	if groupPrefix(prefixService, x) == groupPrefix(prefixService, y) || groupPrefix(prefixService, x) == groupPrefix(prefixLocal, x) {
		t.Errorf("groups of endpoints share the prefix %s", groupPrefix(prefixService, x))
	}
}

// chainOwners fails the test if two service ports of a Table have chains of the same name.
func chainOwners(t *testing.T, b *Backend) {
	t.Helper()
	owners := map[string]service.PortName{}
	for _, p := range b.table.Ports {
		for _, c := range b.layout.portChains(b.table, p) {
			if other, taken := owners[c.Name()]; taken {
				t.Fatalf("%s belongs to %s and to %s", c.Name(), other, p.Name)
			}
			owners[c.Name()] = p.Name
		}
	}
}

func TestTheFirstOfTwoServicePortsWithTheSameChainNamesIsServed(t *testing.T) {
	weakHash(t, 1)
	builder := service.NewBuilder(service.Options{Family: service.IPv4})
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	sync := func(want ...string) {
		t.Helper()
		table, dirty, _ := builder.Build()
		saves := k.Saves
		left := unwritten(t, b.Sync(t.Context(), table, dirty))
		if saves > 0 && k.Saves > saves {
			t.Error("the kernel was read again")
		}
		var names []string
		for name := range left {
			names = append(names, name.Name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("left out (-want +got):\n%s", diff)
		}
		if drift, err := b.Verify(t.Context()); err != nil || len(drift) > 0 {
			t.Errorf("drift %v, %v", drift, err)
		}
		chainOwners(t, b)
	}
	add := func(name, ip string) {
		builder.SetService(servicetest.Service(name, ip, "80"))
		builder.SetSlice(servicetest.Slice(name, name, []string{"8080"}, strings.Replace(ip, "10.96", "10.244", 1)))
	}
	add("b", "10.96.0.2")
	sync()
	add("c", "10.96.0.3")
	sync("c")
	if _, refused := slices.BinarySearchFunc(b.refusals, addressKey(netip.MustParseAddr("10.96.0.3")), func(r refusal, k key) int {
		return strings.Compare(string(r.key[:len(k)]), string(k))
	}); !refused {
		t.Error("the clients of what is left out are not refused")
	}
	add("a", "10.96.0.1")
	sync("b", "c")
	builder.DeleteService(servicetest.Namespace, "a")
	sync("c")
	builder.DeleteSlice(servicetest.Namespace, "b")
	sync("c")
	builder.DeleteService(servicetest.Namespace, "b")
	sync()
	if text := k.Rules.String(); !strings.Contains(text, "10.244.0.3:8080") || strings.Contains(text, "10.96.0.2") {
		t.Errorf("rules:\n%s", text)
	}
}

func TestNoTwoServicePortsAreEverMerged(t *testing.T) {
	weakHash(t, 40)
	seeds := tier.Seeds(2, 12)
	for _, family := range families {
		for _, seed := range seeds {
			world := servicetest.NewWorld(seed, family)
			builder := service.NewBuilder(service.Options{Family: family, NodeName: servicetest.Node, Pods: world.Pods()})
			k := newKernel()
			b := testBackend(Options{Family: family, MasqueradeBit: 14}, k)
			lost := 0
			for step := range 60 {
				for range 3 {
					world.Change(builder)
				}
				table, dirty, _ := builder.Build()
				left := unwritten(t, b.Sync(t.Context(), table, dirty))
				lost += len(left)
				chainOwners(t, b)
				atOnce := newKernel()
				fresh := testBackend(Options{Family: family, MasqueradeBit: 14}, atOnce)
				again := unwritten(t, fresh.Sync(t.Context(), table, nil))
				if diff := cmp.Diff(slices.SortedFunc(maps.Keys(again), service.PortName.Compare), slices.SortedFunc(maps.Keys(left), service.PortName.Compare)); diff != "" {
					t.Fatalf("seed %d, step %d: left out (-one sync +many):\n%s", seed, step, diff)
				}
				sameRules(t, atOnce, k)
				if drift, err := b.Verify(t.Context()); err != nil || len(drift) > 0 {
					t.Fatalf("drift %v, %v", drift, err)
				}
			}
			if lost == 0 {
				t.Errorf("seed %d: no names collided", seed)
			}
		}
	}
}

func sameRules(t *testing.T, want, got *xtablestest.Kernel) {
	t.Helper()
	if diff := cmp.Diff(want.Rules.String(), got.Rules.String()); diff != "" {
		t.Fatalf("rules (-want +got):\n%s", diff)
	}
}
