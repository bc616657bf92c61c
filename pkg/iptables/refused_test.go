package iptables

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

var errRefused = errors.New("the kernel says no")

// refusing makes a kernel refuse all rules that contain a text.
func refusing(k *xtablestest.Kernel, text string) {
	k.Refuse = func(rule string) error {
		if strings.Contains(rule, text) {
			return errRefused
		}
		return nil
	}
}

// mixed is a cluster of Services that need all that there is: numbered n, each has an endpoint 10.244.n.1, and some have more.
func mixed(n int) *service.Builder {
	b := service.NewBuilder(service.Options{Family: service.IPv4, NodeName: servicetest.Node})
	for i := 1; i <= n; i++ {
		name, port := fmt.Sprintf("service-%03d", i), "80"
		if i%4 == 1 {
			port = "80/SCTP"
		}
		svc := servicetest.Service(name, fmt.Sprintf("10.96.%d.1", i), port)
		if i%4 == 2 {
			svc.Spec.SessionAffinity = "ClientIP"
		}
		b.SetService(svc)
		endpoints := []string{fmt.Sprintf("10.244.%d.1", i), fmt.Sprintf("10.244.%d.2", i)}
		if i%4 == 3 {
			endpoints = endpoints[:1]
		}
		b.SetSlice(servicetest.Slice(name, name, []string{strings.Replace(port, "80", "8080", 1)}, endpoints...))
	}
	return b
}

func names(left service.Unwritten) []string {
	list := []string{}
	for name := range maps.Keys(left) {
		list = append(list, name.Name)
	}
	slices.Sort(list)
	return list
}

func TestAServicePortThatTheKernelRefusesKeepsNoOtherBack(t *testing.T) {
	const services = 24
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		for i := 1; i <= services; i++ {
			for _, whole := range []bool{true, false} {
				builder := mixed(services)
				k := xtablestest.New(variant)
				b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
				table, dirty, _ := builder.Build()
				if !whole { // what is refused comes with the second sync
					first := mixed(services)
					first.DeleteService(servicetest.Namespace, fmt.Sprintf("service-%03d", i))
					without, _, _ := first.Build()
					if err := b.Sync(t.Context(), without, nil); err != nil {
						t.Fatal(err)
					}
					dirty = service.PortSet{}
					for _, p := range table.Ports {
						if p.Name.Name == fmt.Sprintf("service-%03d", i) {
							dirty.Add(p.Name)
						}
					}
				}
				refusing(k, fmt.Sprintf("10.244.%d.1:8080", i))
				left := unwritten(t, b.Sync(t.Context(), table, dirty))
				if diff := cmp.Diff([]string{fmt.Sprintf("service-%03d", i)}, names(left)); diff != "" {
					t.Fatalf("%s: left out (-want +got):\n%s", variant, diff)
				}
				text := k.Rules.String()
				for other := 1; other <= services; other++ {
					if served := strings.Contains(text, fmt.Sprintf("10.244.%d.1:8080", other)); served != (other != i) {
						t.Errorf("%s: service-%03d is refused, and service-%03d served: %t", variant, i, other, served)
					}
				}
				if strings.Contains(text, prefixTrial) || strings.Contains(text, "FL-s-") {
					t.Errorf("chains that were tried are left:\n%s", text)
				}
				if drift, err := b.Verify(t.Context()); err != nil || len(drift) > 0 {
					t.Errorf("drift %v, %v", drift, err)
				}
			}
		}
	}
}

func TestAMatchThatTheKernelLacksIsNamed(t *testing.T) {
	for _, test := range []struct {
		lacks, module string
		users         func(i int) bool
	}{
		{"-m recent", "CONFIG_NETFILTER_XT_MATCH_RECENT", func(i int) bool { return i%4 == 2 }},
		{"-m sctp", "CONFIG_NETFILTER_XT_MATCH_SCTP", func(i int) bool { return i%4 == 1 }},
		{"-m statistic", "CONFIG_NETFILTER_XT_MATCH_STATISTIC", func(i int) bool { return i%4 != 3 }},
	} {
		k := newKernel()
		b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
		refusing(k, test.lacks)
		table, _, _ := mixed(40).Build()
		left := unwritten(t, b.Sync(t.Context(), table, nil))
		for i := 1; i <= 40; i++ {
			reason := ""
			for name, err := range left {
				if name.Name == fmt.Sprintf("service-%03d", i) {
					reason = err.Error()
				}
			}
			if test.users(i) != strings.Contains(reason, test.module) {
				t.Errorf("without %s, service-%03d: %q", test.lacks, i, reason)
			}
		}
		if n := len(k.Restores); n > 40 {
			t.Errorf("without %s: %d restores", test.lacks, n)
		}
	}
}

func TestWhatTheKernelRefusesIsTriedAgainFromTimeToTime(t *testing.T) {
	builder := mixed(12)
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	now := time.Unix(0, 0)
	b.now = func() time.Time { return now }
	refusing(k, "10.244.7.1:8080")
	table, _, _ := builder.Build()
	unwritten(t, b.Sync(t.Context(), table, nil))
	attempts, saves := 0, k.Saves
	for range 600 {
		now = now.Add(time.Second)
		k.TakeRestores()
		left := unwritten(t, b.Sync(t.Context(), table, service.PortSet{}))
		if len(left) != 1 {
			t.Fatalf("left out: %v", left)
		}
		if len(k.Restores) > 0 {
			attempts++
		}
	}
	if attempts < 5 || attempts > 15 || k.Saves != saves {
		t.Errorf("%d attempts in ten minutes, %d readings", attempts, k.Saves-saves)
	}
	k.Refuse = nil
	now = now.Add(longestRetry)
	if left := unwritten(t, b.Sync(t.Context(), table, service.PortSet{})); len(left) > 0 || !strings.Contains(k.Rules.String(), "10.244.7.1:8080") {
		t.Errorf("once the kernel takes it, it is not served: %v", left)
	}
}

func TestAServicePortThatIsRefusedKeepsItsFormerRules(t *testing.T) {
	builder := mixed(12)
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	table, _, _ := builder.Build()
	if err := b.Sync(t.Context(), table, nil); err != nil {
		t.Fatal(err)
	}
	refusing(k, "10.244.7.9:8080")
	builder.SetSlice(servicetest.Slice("service-007", "service-007", []string{"8080"}, "10.244.7.9"))
	builder.SetSlice(servicetest.Slice("service-008", "service-008", []string{"8080"}, "10.244.8.9"))
	table, dirty, _ := builder.Build()
	left := unwritten(t, b.Sync(t.Context(), table, dirty))
	text := k.Rules.String()
	if len(left) != 1 || !strings.Contains(text, "10.244.7.1:8080") || !strings.Contains(text, "10.244.8.9:8080") {
		t.Errorf("left out: %v; rules:\n%s", left, text)
	}
	// What it was before cannot stay where it answers in another way now.
	builder.SetService(servicetest.Service("service-007", "10.96.77.77", "80"))
	table, dirty, _ = builder.Build()
	left = unwritten(t, b.Sync(t.Context(), table, dirty))
	if text := k.Rules.String(); len(left) != 1 || strings.Contains(text, "10.244.7.") {
		t.Errorf("left out: %v; rules:\n%s", left, text)
	}
}

// A restore that fails for another reason than a rule says nothing about the rules: the Sync fails as a whole.
func TestAFailureThatIsNoRefusalLeavesNothingOut(t *testing.T) {
	table, _, _ := mixed(12).Build()
	for fails := 1; fails < 12; fails++ {
		k := newKernel()
		b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
		k.Fail = fails
		for k.Fail > 0 {
			var left service.Unwritten
			if err := b.Sync(t.Context(), table, nil); err == nil || errors.As(err, &left) {
				t.Fatalf("%d failures: %v", fails, err)
			}
		}
		if err := b.Sync(t.Context(), table, nil); err != nil {
			t.Errorf("after %d failures: %v", fails, err)
		}
	}
}
