package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// watched is a kernel that calls a function after each change.
type watched struct {
	*xtablestest.Kernel
	after func()
}

func (w watched) Restore(ctx context.Context, text []byte) error {
	err := w.Kernel.Restore(ctx, text)
	w.after()
	return err
}

func (w watched) open(context.Context, service.Family, xtables.Variant) (xtables.Kernel, error) {
	return w, nil
}

// TestChainsWithOlderNamesGoOnceNewOnesServe begins with rules as older versions wrote them, with shorter hashes in the names of chains.
func TestChainsWithOlderNamesGoOnceNewOnesServe(t *testing.T) {
	const services = 400 // more than fit into one transaction of the nft variant
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		builder := service.NewBuilder(service.Options{Family: service.IPv4})
		for i := range services {
			name := fmt.Sprintf("service-%d", i)
			builder.SetService(servicetest.Service(name, fmt.Sprintf("10.96.%d.%d", i/200, i%200+1), "80"))
			builder.SetSlice(servicetest.Slice(name, name, []string{"8080"}, "10.244.2.1"))
		}
		table, _, _ := builder.Build()
		k := xtablestest.New(variant)
		if err := testBackend(Options{Family: service.IPv4}, k).Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		want := k.Rules.String()
		older := regexp.MustCompile(`(FL-S-[a-z0-9-]+-[A-Z2-7]{11})[A-Z2-7]{5}`).ReplaceAllString(want, "$1")
		k.Rules = tracer.New()
		if err := k.Rules.Restore(strings.NewReader(older)); err != nil {
			t.Fatal(err)
		}
		restores := 0
		b := newBackend(Options{Family: service.IPv4}, watched{k, func() {
			restores++
			for _, p := range table.Ports {
				outcomes, err := k.Rules.Trace(tracer.Packet{Protocol: "tcp", Source: netip.MustParseAddrPort("10.99.0.1:1"),
					Destination: p.Frontends[0].Address, InInterface: "eth0"})
				if err != nil || len(outcomes) != 1 || !outcomes[0].DNAT {
					t.Fatalf("%s, restore %d: %s is not served: %v, %v", variant, restores, p.Name, outcomes, err)
				}
			}
		}}.open)
		if err := b.Sync(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
		if got := k.Rules.String(); got != want || restores == 0 {
			t.Errorf("%s: %d restores, rules:\n%s", variant, restores, got)
		}
	}
}
