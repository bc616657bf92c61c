package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// A kernel that takes nothing for a while refuses no service port, however long that is.
func TestAWhileInWhichEverythingIsRefusedLeavesNothingOut(t *testing.T) {
	table, _, _ := mixed(12).Build()
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		for refusals := 1; refusals < 20; refusals++ {
			k, n := xtablestest.New(variant), 0
			b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
			k.Refuse = func(string) error {
				if n++; n <= refusals { // the first rule of each restore
					return errRefused
				}
				return nil
			}
			err := errRefused
			for syncs := 0; err != nil && syncs < 20; syncs++ {
				var left service.Unwritten
				if err = b.Sync(t.Context(), table, nil); errors.As(err, &left) {
					t.Fatalf("%s, %d refusals: left out %v", variant, refusals, left)
				}
			}
			if err != nil || refusals == 1 && len(k.Restores) > 2 {
				t.Errorf("%s, %d refusals: %v after %d restores", variant, refusals, err, len(k.Restores))
			}
		}
	}
}

// manyServices has Services with one endpoint 10.200.n.m each, on 10.96.n.m.
func manyServices(services int) *service.Builder {
	b := service.NewBuilder(service.Options{Family: service.IPv4, NodeName: servicetest.Node})
	for i := range services {
		name := fmt.Sprintf("service-%04d", i)
		b.SetService(servicetest.Service(name, fmt.Sprintf("10.96.%d.%d", i/250, 1+i%250), "80"))
		b.SetSlice(servicetest.Slice(name, name, []string{"8080"}, fmt.Sprintf("10.200.%d.%d", i/250, 1+i%250)))
	}
	return b
}

func TestAFewRefusedAmongManyCostNoOtherItsRules(t *testing.T) {
	table, _, _ := manyServices(2000).Build()
	for i, bad := range [][]int{{3, 900, 1999}, {1, 2, 3, 250, 500, 777, 1001, 1500, 1700, 1998}, {1, 2, 3, 250, 500, 777, 1001, 1500, 1700, 1998}} {
		addresses := i == 2 // are refused too
		k := newKernel()
		b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
		k.Refuse = func(rule string) error {
			for _, i := range bad {
				address := fmt.Sprintf("%d.%d", i/250, 1+i%250)
				if strings.HasSuffix(rule, " 10.200."+address+":8080") || addresses && strings.Contains(rule, "-d 10.96."+address+"/32") {
					return errRefused
				}
			}
			return nil
		}
		want := []string{}
		for _, i := range bad {
			want = append(want, fmt.Sprintf("service-%04d", i))
		}
		var left service.Unwritten
		for syncs := 0; left == nil && syncs < 20; syncs++ {
			if err := b.Sync(t.Context(), table, nil); err == nil {
				t.Fatal("nothing is left out")
			} else if !errors.As(err, &left) && !errors.Is(err, errSearchEnds) {
				t.Fatal(err)
			}
		}
		text := k.Rules.String()
		if !slices.Equal(names(left), want) || strings.Count(text, "--to-destination 10.200.") != 2000-len(bad) {
			t.Errorf("addresses %t: left out: %v; served: %d", addresses, names(left), strings.Count(text, "--to-destination 10.200."))
		}
		for _, restore := range k.Restores {
			if n := strings.Count(string(restore), "\n:"+prefixTrial); n > mostPorts {
				t.Errorf("%d service ports are tried at once", n)
			}
		}
	}
}

func TestAServicePortThatIsRefusedKeepsItsFormerRulesAfterAnError(t *testing.T) {
	builder := mixed(12)
	b, k := synced(t, builder, service.IPv4)
	refusing(k, "10.244.7.9:8080")
	builder.SetSlice(servicetest.Slice("service-007", "service-007", []string{"8080"}, "10.244.7.9"))
	table, dirty, _ := builder.Build()
	unwritten(t, b.Sync(t.Context(), table, dirty))
	k.Fail = 1
	builder.SetSlice(servicetest.Slice("service-008", "service-008", []string{"8080"}, "10.244.8.9"))
	table, dirty, _ = builder.Build()
	if err := b.Sync(t.Context(), table, dirty); err == nil || errors.As(err, new(service.Unwritten)) {
		t.Fatal(err)
	}
	for range 2 { // both full syncs
		unwritten(t, b.Sync(t.Context(), table, nil))
		if text := k.Rules.String(); !strings.Contains(text, "10.244.7.1:8080") || !strings.Contains(text, "10.244.8.9:8080") {
			t.Fatalf("rules:\n%s", text)
		}
	}
	// What it was before may be refused too.
	refusing(k, "10.244.7.")
	b.rules.Forget()
	k.Rules = xtablestest.New(xtables.Legacy).Rules
	left := unwritten(t, b.Sync(t.Context(), table, nil))
	if text := k.Rules.String(); len(left) != 1 || strings.Contains(text, "10.244.7.") || !strings.Contains(text, "10.244.8.9:8080") {
		t.Errorf("left out: %v; rules:\n%s", left, text)
	}
}

func TestAServicePortThatIsLeftOutRefusesItsClients(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused []string
		action  string // of the filter table, for service-007; empty: none
	}{
		{"its endpoint is refused", []string{"10.244.7.1:8080"}, "-j REJECT --reject-with icmp-port-unreachable"},
		{"and REJECT", []string{"10.244.7.1:8080", "-j REJECT"}, "-j DROP"},
		{"and its address", []string{"10.244.7.1:8080", "-d 10.96.7.1/"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			builder := mixed(12)
			builder.SetService(servicetest.Service("nobody-behind", "10.96.100.1", "80"))
			k := newKernel()
			b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
			k.Refuse = func(rule string) error {
				if slices.ContainsFunc(test.refused, func(text string) bool { return strings.Contains(rule, text) }) {
					return errRefused
				}
				return nil
			}
			table, _, _ := builder.Build()
			left := unwritten(t, b.Sync(t.Context(), table, nil))
			action := ""
			for _, r := range b.refusals {
				if r.key == addressKey(netip.MustParseAddr("10.96.7.1"))+portKey(service.TCP, 80) {
					action = r.action
				}
			}
			text := k.Rules.String()
			if action != test.action || !slices.Contains(names(left), "service-007") || !strings.Contains(text, "10.244.8.1:8080") {
				t.Errorf("action %q, left out: %v", action, names(left))
			}
			if test.action != "" && !strings.Contains(text, test.action) {
				t.Errorf("rules:\n%s", text)
			}
		})
	}
}

func TestWhatWasRefusedIsTriedAgainAtOnceWhenItHasChanged(t *testing.T) {
	builder := mixed(12)
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	now := time.Unix(0, 0)
	b.now = func() time.Time { return now }
	k.Refuse = func(rule string) error {
		if strings.Contains(rule, "10.244.7.1:8080") || strings.Contains(rule, "10.244.11.1:8080") {
			return errRefused
		}
		return nil
	}
	table, _, _ := builder.Build()
	unwritten(t, b.Sync(t.Context(), table, nil))
	k.TakeRestores()
	unwritten(t, b.Sync(t.Context(), table, service.PortSet{}))
	if len(k.Restores) > 0 {
		t.Errorf("%d restores where nothing has changed", len(k.Restores))
	}
	builder.SetSlice(servicetest.Slice("service-007", "service-007", []string{"8080"}, "10.244.7.9"))
	table, dirty, _ := builder.Build()
	left := unwritten(t, b.Sync(t.Context(), table, dirty))
	if text := k.Rules.String(); !slices.Equal(names(left), []string{"service-011"}) || !strings.Contains(text, "10.244.7.9:8080") {
		t.Errorf("left out: %v", names(left))
	}
}

func TestWhatTheKernelTakesAgainIsWrittenAtOnce(t *testing.T) {
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	now := time.Unix(0, 0)
	b.now = func() time.Time { return now }
	refusing(k, "10.200.0.1") // and 10 to 19, 100 to 199
	table, _, _ := manyServices(30).Build()
	left := unwritten(t, b.Sync(t.Context(), table, nil))
	if len(left) != 11 {
		t.Fatalf("left out: %v", names(left))
	}
	k.TakeRestores()
	k.Refuse = nil
	now = now.Add(longestRetry)
	if err := b.Sync(t.Context(), table, service.PortSet{}); err != nil {
		t.Fatal(err)
	}
	if n := len(k.Restores); n > 5 {
		t.Errorf("%d restores", n)
	}
}
