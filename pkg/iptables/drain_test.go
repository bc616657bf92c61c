package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestALeftModeTakesNoNewConnections(t *testing.T) {
	for _, family := range families {
		t.Run(family.String(), func(t *testing.T) {
			builder := small(family)
			b, k := synced(t, builder, family)
			before := k.Rules.String()
			k.TakeRestores()
			if left, err := b.Drain(t.Context()); left != 0 || err != nil {
				t.Fatalf("%d connections are left, error %v", left, err)
			}
			text := k.TakeRestores()
			if filter, nat := strings.Index(text, "*filter"), strings.Index(text, "*nat"); filter < 0 || nat < filter {
				t.Errorf("it stops to serve before it stops to refuse:\n%s", text)
			}
			for _, line := range slices.Collect(strings.Lines(k.Rules.String())) {
				if strings.HasPrefix(line, "-A ") && !strings.HasPrefix(line, "-A FL-") {
					t.Errorf("this still leads to its chains: %s", line)
				}
			}
			table, _, _ := builder.Build()
			if err := b.Sync(t.Context(), table, service.PortSet{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, k.Rules.String()); diff != "" {
				t.Errorf("rules after it came back (-before +after):\n%s", diff)
			}
		})
	}
}

// TestItRefusesNothingBeforeItServes holds for a first sync, as another mode may serve what this one refuses at a virtual IP.
func TestItRefusesNothingBeforeItServes(t *testing.T) {
	_, k := synced(t, small(service.IPv4), service.IPv4)
	text := k.TakeRestores()
	serves, refuses := strings.Index(text, "-I PREROUTING 1 -j FL-SERVICES"), strings.Index(text, "-I INPUT 1 -j FL-INPUT")
	if serves < 0 || refuses < serves {
		t.Errorf("it refuses first:\n%s", text)
	}
}

func TestNothingIsLeftToLeaveWhereNothingIs(t *testing.T) {
	k := newKernel()
	b := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k)
	if left, err := b.Drain(t.Context()); left != 0 || err != nil || len(k.Restores) > 0 {
		t.Errorf("%d are left, error %v, %d restores", left, err, len(k.Restores))
	}
}
