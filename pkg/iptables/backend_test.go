package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// small is a cluster of one family with something of everything.
func small(family service.Family) *service.Builder {
	b := service.NewBuilder(service.Options{Family: family, NodeName: servicetest.Node, Pods: service.LocalTraffic{Sources: netip.MustParsePrefix("10.244.0.0/16")}})
	web, empty, pod, external := "10.96.0.1", "10.96.0.2", "10.244.%d.%d", "192.0.2.1"
	if family == service.IPv6 {
		b = service.NewBuilder(service.Options{Family: family, NodeName: servicetest.Node, Pods: service.LocalTraffic{Sources: netip.MustParsePrefix("fd00:10:244::/48")}})
		web, empty, pod, external = "fd00:10:96::1", "fd00:10:96::2", "fd00:10:244:%d::%d", "2001:db8::1"
	}
	svc := servicetest.Service("web", web, "http:80=30080", "dns:53/UDP")
	svc.Spec.ExternalIPs = []string{external}
	b.SetService(svc)
	b.SetService(servicetest.Service("nobody-behind", empty, "80=30081"))
	b.SetSlice(servicetest.Slice("web", "web-1", []string{"http:8080", "dns:5353/UDP"},
		fmt.Sprintf(pod, 1, 1)+"@"+servicetest.Node, fmt.Sprintf(pod, 2, 1)+"@"+servicetest.OtherNode, fmt.Sprintf(pod, 2, 2)+"@"+servicetest.OtherNode))
	return b
}

// synced is a Backend that has written a cluster into a kernel in memory.
func synced(t *testing.T, builder *service.Builder, family service.Family) (*Backend, *xtablestest.Kernel) {
	t.Helper()
	k := newKernel()
	b := testBackend(Options{Family: family, MasqueradeBit: 14}, k)
	table, _, _ := builder.Build()
	if err := b.Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	return b, k
}

func TestRenderedRules(t *testing.T) {
	for _, family := range families {
		_, k := synced(t, small(family), family)
		xtablestest.Golden(t, family.String()+".golden", k.Rules.String())
	}
}

func TestARestartWithNothingChangedWritesNothing(t *testing.T) {
	builder := small(service.IPv4)
	_, k := synced(t, builder, service.IPv4)
	k.TakeRestores()
	before := k.Rules.String()
	table, _, _ := builder.Build()
	if err := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k).Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	if text := k.TakeRestores(); text != "" {
		t.Errorf("written:\n%s", text)
	}
	if diff := cmp.Diff(before, k.Rules.String()); diff != "" {
		t.Errorf("rules (-before +after):\n%s", diff)
	}
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	ports := []string{"http:8080", "dns:5353/UDP"}
	tests := []struct {
		name   string
		change func(b *service.Builder)
		want   []string // the chains named in the restore
	}{
		{"an endpoint of another node comes: the chains of its Service", func(b *service.Builder) {
			b.SetSlice(servicetest.Slice("web", "web-2", ports, "10.244.2.3@node-2"))
		}, []string{"FL-S-web", "FL-S-web"}},
		{"an endpoint of this node comes: the rule that lets it reach itself too", func(b *service.Builder) {
			b.SetSlice(servicetest.Slice("web", "web-2", ports, "10.244.1.3@node-1"))
		}, []string{"FL-HAIRPIN", "FL-S-web", "FL-S-web"}},
		{"a Service without endpoints comes: the way to it, and its refusal", func(b *service.Builder) {
			b.SetService(servicetest.Service("new", "10.96.0.5", "80"))
		}, []string{"FL-CLUSTER-IPS", "FL-FILTER", "FL-NO-ENDPOINTS"}},
		{"the last endpoint goes: refused before nothing leads to it", func(b *service.Builder) {
			b.DeleteSlice(servicetest.Namespace, "web-1")
		}, []string{"FL-CLUSTER-IPS", "FL-EXTERNAL-IPS", "FL-FILTER", "FL-HAIRPIN", "FL-NO-ENDPOINTS", "FL-NO-NODE-PORTS", "FL-NODE-PORTS", "FL-POSTROUTING", "FL-S-web", "FL-S-web"}},
		{"nothing the rules depend on", func(b *service.Builder) {
			b.SetSlice(servicetest.Slice("web", "web-2", ports, "10.244.2.3@node-2 !ready"))
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			builder := small(service.IPv4)
			b, k := synced(t, builder, service.IPv4)
			k.TakeRestores()
			test.change(builder)
			table, dirty, _ := builder.Build()
			if err := b.Sync(t.Context(), table, dirty); err != nil {
				t.Fatal(err)
			}
			if len(k.Restores) > 1 {
				t.Errorf("%d restores", len(k.Restores))
			}
			if diff := cmp.Diff(test.want, declared(k.TakeRestores())); diff != "" {
				t.Errorf("chains written (-want +got):\n%s", diff)
			}
		})
	}
}

// declared lists the chains that a restore names, sorted, without the hash at the end of a Service's.
func declared(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if name, is := strings.CutPrefix(line, ":"); is {
			name, _, _ = strings.Cut(name, " ")
			if strings.HasPrefix(name, prefixService) {
				name = name[:strings.LastIndexByte(name, '-')]
			}
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func TestARefusalNeverMissesAMoment(t *testing.T) {
	builder := small(service.IPv4)
	b, k := synced(t, builder, service.IPv4)
	order := func(change func()) string {
		k.TakeRestores()
		change()
		table, dirty, _ := builder.Build()
		if err := b.Sync(t.Context(), table, dirty); err != nil {
			t.Fatal(err)
		}
		var tables []string
		for line := range strings.Lines(k.TakeRestores()) {
			if name, is := strings.CutPrefix(line, "*"); is {
				tables = append(tables, strings.TrimSpace(name))
			}
		}
		return strings.Join(tables, ", ")
	}
	slice := servicetest.Slice("nobody-behind", "n-1", []string{"8080"}, "10.244.2.9@node-2")
	if got, want := order(func() { builder.SetSlice(slice) }), "nat, filter"; got != want {
		t.Errorf("the first endpoint comes: tables are written in the order %s, want %s", got, want)
	}
	if got, want := order(func() { builder.DeleteSlice(servicetest.Namespace, "n-1") }), "filter, nat"; got != want {
		t.Errorf("the last endpoint goes: tables are written in the order %s, want %s", got, want)
	}
}

func TestDriftIsNamedAndOnlyItIsRepaired(t *testing.T) {
	tests := []struct {
		name, damage string
		drift        []string
		written      []string
	}{
		{"none", "", nil, nil},
		{"a rule more", "*nat\n-A FL-SERVICES -j RETURN\nCOMMIT\n", []string{"nat FL-SERVICES: the rules have been changed"}, []string{"FL-SERVICES"}},
		{"a chain emptied", "*nat\n-F FL-MASQUERADE\nCOMMIT\n", []string{"nat FL-MASQUERADE: the rules have been changed"}, []string{"FL-MASQUERADE"}},
		{"a jump gone", "*filter\n-F FORWARD\nCOMMIT\n", []string{"filter FORWARD: the jump to FL-FORWARD is gone"}, nil},
		{"a chain gone", "*nat\n-F FL-POSTROUTING\n-F FL-HAIRPIN\n-X FL-HAIRPIN\nCOMMIT\n",
			[]string{"nat FL-HAIRPIN: the chain is gone", "nat FL-POSTROUTING: the rules have been changed"}, []string{"FL-HAIRPIN", "FL-POSTROUTING"}},
		{"a chain of an older Fairlead", "*nat\n:FL-S-old-AAAAAAAAAAA - [0:0]\nCOMMIT\n",
			[]string{"nat FL-S-old-AAAAAAAAAAA: the chain does not belong there"}, []string{"FL-S-old"}},
		{"somebody else's rules are none", "*nat\n:KUBE-X - [0:0]\n:FL-OAT - [0:0]\n-A POSTROUTING -j KUBE-X\nCOMMIT\n", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			builder := small(service.IPv4)
			b, k := synced(t, builder, service.IPv4)
			before := k.Rules.String()
			k.TakeRestores()
			if err := k.Rules.Restore(strings.NewReader(test.damage)); err != nil {
				t.Fatal(err)
			}
			damaged := k.Rules.String()
			drift, err := b.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.drift, drift); diff != "" {
				t.Errorf("drift (-want +got):\n%s", diff)
			}
			table, _, _ := builder.Build()
			if err := b.Sync(t.Context(), table, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.written, declared(k.TakeRestores())); diff != "" {
				t.Errorf("chains written (-want +got):\n%s", diff)
			}
			want := before
			if test.drift == nil {
				want = damaged
			}
			if diff := cmp.Diff(want, k.Rules.String()); diff != "" {
				t.Errorf("rules after the repair (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheNFTVariantLoadsTheWayToServicesLast(t *testing.T) {
	const services = 500
	builder := service.NewBuilder(service.Options{Family: service.IPv4})
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		builder.SetService(servicetest.Service(name, fmt.Sprintf("10.96.%d.%d", i/200, i%200+1), "80"))
		builder.SetSlice(servicetest.Slice(name, name, []string{"8080"}, "10.244.2.1"))
	}
	k := xtablestest.New(xtables.NFT)
	b := testBackend(Options{Family: service.IPv4}, k)
	table, _, _ := builder.Build()
	if err := b.Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	if len(k.Restores) < 2 {
		t.Fatalf("%d restores", len(k.Restores))
	}
	for i, text := range k.Restores {
		if last := i == len(k.Restores)-1; strings.Contains(string(text), ":"+chainServices+" ") != last {
			t.Errorf("restore %d of %d: the way to the Services has to come last", i+1, len(k.Restores))
		}
	}
}

func TestRemovalLeavesNothing(t *testing.T) {
	b, k := synced(t, small(service.IPv4), service.IPv4)
	if err := b.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newKernel().Rules.String(), k.Rules.String()); diff != "" {
		t.Errorf("rules (-untouched +after removal):\n%s", diff)
	}
	table, _, _ := small(service.IPv4).Build()
	if err := b.Sync(t.Context(), table, service.PortSet{}); err != nil {
		t.Fatal(err)
	}
	if drift, err := b.Verify(t.Context()); err != nil || len(drift) > 0 || len(k.Rules.Rules("nat", chainServices)) == 0 {
		t.Errorf("a sync after that: drift %v, %v", drift, err)
	}
}

func TestAnErrorSaysWhatTheKernelSaid(t *testing.T) {
	builder := small(service.IPv4)
	k := newKernel()
	k.Fail = 1
	b := testBackend(Options{Family: service.IPv4}, k)
	table, _, _ := builder.Build()
	if err := b.Sync(t.Context(), table, nil); err == nil || !strings.Contains(err.Error(), "the kernel says no") {
		t.Errorf("got %v", err)
	}
	if drift, err := b.Verify(t.Context()); err != nil || drift != nil {
		t.Errorf("after a failed sync there is nothing to compare with, but: %v, %v", drift, err)
	}
}

func TestOnlyOurChainsAreOurs(t *testing.T) {
	for name, want := range map[string]bool{
		chainServices: true, portChain(prefixService, service.PortName{Name: "a-b.c", Namespace: "x"}): true, "FL-C-0a60000a": true,
		"FL-G-ABCDEFGHIJK-0f": true, "FL-G-ABCDEFGHIJKLMNOP-s0f": true, "FL-A-ABCDEFGHIJK-ABCDEFGHIJK": true,
		groupPrefix(prefixLocal, service.PortName{Name: "a"}) + "0": true, "FL-C-ABCDEFGHIJKLMNOP": true, "FL-C-ABCDEFGHIJKLMNOPABCDEFG": true,
		"FL-S-web-AAAAAAAAAAA": true, "FL-S-web-AAAAAAAAAAAAA": false, "FL-OATING": false, "FLV-SERVICES": false, "FL-S-": false, "KUBE-SERVICES": false, "FL-SERVICES-OF-MINE": false, "": false,
	} {
		if got := ours.MatchString(name); got != want {
			t.Errorf("%q: ours %t, want %t", name, got, want)
		}
	}
}

func TestAForeignRuleIntoAChainThatGoesKeepsNothingElseBack(t *testing.T) {
	builder := small(service.IPv4)
	b, k := synced(t, builder, service.IPv4)
	web := portChain(prefixService, service.PortName{Namespace: servicetest.Namespace, Name: "web", Port: "http", Protocol: service.TCP})
	if err := k.Rules.Restore(strings.NewReader("*nat\n:MINE - [0:0]\n-A MINE -j " + web + "\nCOMMIT\n")); err != nil {
		t.Fatal(err)
	}
	for round, change := range []func(){
		func() { builder.DeleteService(servicetest.Namespace, "web") },
		func() { builder.SetService(servicetest.Service("new", "10.96.0.5", "80")) },
	} {
		change()
		table, dirty, _ := builder.Build()
		if err := b.Sync(t.Context(), table, dirty); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if drift, err := b.Verify(t.Context()); err != nil || len(drift) > 0 {
			t.Errorf("round %d: drift %v, %v", round, drift, err)
		}
	}
	if rules := k.Rules.Rules("nat", web); len(rules) > 0 {
		t.Errorf("the chain still has rules: %v", rules)
	}
	if text := k.Rules.String(); !strings.Contains(text, "-A FL-CLUSTER-IPS -d 10.96.0.5/32") {
		t.Errorf("the new Service is not there:\n%s", text)
	}
}

func TestInvalidPacketsAreDroppedWhereThatIsWanted(t *testing.T) {
	const rule = "-m conntrack --ctstate INVALID -j DROP"
	for _, drop := range []bool{true, false} {
		k := newKernel()
		table, _, _ := small(service.IPv4).Build()
		if err := testBackend(Options{Family: service.IPv4, DropInvalid: drop}, k).Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(k.Rules.Rules("filter", chainForward), rule); got != drop {
			t.Errorf("wanted %t, got %t: %v", drop, got, k.Rules.Rules("filter", chainForward))
		}
	}
}
