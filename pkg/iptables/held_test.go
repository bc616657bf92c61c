package iptables

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestWhatIsRefusedStaysSoUntilItIsServed fails the nat table after the first endpoints have come, in a process that goes on and in new ones.
func TestWhatIsRefusedStaysSoUntilItIsServed(t *testing.T) {
	for _, family := range families {
		for _, restart := range []bool{false, true} {
			builder := small(family)
			b, k := synced(t, builder, family)
			pod := "10.244.2.9"
			if family == service.IPv6 {
				pod = "fd00:10:244:2::9"
			}
			builder.SetSlice(servicetest.Slice("nobody-behind", "n-1", []string{"8080"}, pod+"@node-2"))
			// Another Service to refuse makes the filter table change before the nat table does.
			builder.DeleteSlice(servicetest.Namespace, "web-1")
			refusal := refusalOf(t, k.Rules.String(), "10.96.0.2/32", "fd00:10:96::2/128")
			k.Refuse = func(rule string) error {
				if strings.HasPrefix(rule, "-A FL-SERVICES") || strings.HasPrefix(rule, "-A FL-CLUSTER-IPS") {
					return errors.New("the kernel says no")
				}
				return nil
			}
			for attempt := range 3 {
				table, dirty, _ := builder.Build()
				if restart {
					b = testBackend(Options{Family: family, MasqueradeBit: 14}, k)
				}
				if err := b.Sync(t.Context(), table, dirty); err == nil {
					t.Fatal("the nat table has been written")
				}
				if !strings.Contains(k.Rules.String(), refusal) {
					t.Errorf("%s, restart %t: after %d failed attempts nothing refuses it, nor serves it:\n%s", family, restart, attempt+1, k.Rules)
				}
			}
			k.Refuse = nil
			table, _, _ := builder.Build()
			if err := b.Sync(t.Context(), table, nil); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(k.Rules.String(), refusal) {
				t.Errorf("%s, restart %t: it is still refused", family, restart)
			}
		}
	}
}

// refusalOf finds the line that refuses one of some addresses.
func refusalOf(t *testing.T, rules string, addresses ...string) string {
	t.Helper()
	for line := range strings.Lines(rules) {
		if strings.Contains(line, "REJECT") && slices.ContainsFunc(addresses, func(a string) bool { return strings.Contains(line, a) }) {
			return line
		}
	}
	t.Fatalf("nothing is refused:\n%s", rules)
	return ""
}

func TestRefusalsAreReadAsTheyWereWritten(t *testing.T) {
	forEachWorld(t, tier.Seeds(3, 12), func(t *testing.T, world *servicetest.World, builder *service.Builder, family service.Family) {
		for range 5 {
			for range 60 {
				world.Change(builder)
			}
			k := newKernel()
			b := testBackend(Options{Family: family, MasqueradeBit: 14}, k)
			table, _, _ := builder.Build()
			if err := b.Sync(t.Context(), table, nil); err != nil {
				t.Fatal(err)
			}
			if err := b.rules.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := b.layout.heldRefusals(b.rules.Text("filter"))
			if diff := cmp.Diff(b.layout.refusals(table), got, cmp.AllowUnexported(refusal{}, entry{})); diff != "" {
				t.Fatalf("refusals (-written +read):\n%s", diff)
			}
		}
	})
}
