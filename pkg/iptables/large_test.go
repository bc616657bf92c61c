package iptables

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// manyEndpoints is a Service with n endpoints.
func manyEndpoints(n int) *service.Builder {
	b := service.NewBuilder(service.Options{Family: service.IPv4})
	b.SetService(servicetest.Service("large", "10.96.0.1", "80"))
	const perSlice = 1000
	for from := 0; from < n; from += perSlice {
		var endpoints []string
		for i := from; i < min(n, from+perSlice); i++ {
			endpoints = append(endpoints, fmt.Sprintf("10.%d.%d.%d@node-2", 100+i/40000, i/200%200, i%200+1))
		}
		b.SetSlice(servicetest.Slice("large", fmt.Sprintf("large-%d", from), []string{"8080"}, endpoints...))
	}
	return b
}

func TestEveryEndpointOfALargeServiceHasTheSameChance(t *testing.T) {
	// The kernel keeps a chance as a multiple of 2^-31, and there are three or four of them on the way.
	const inexact = 1e-5
	for _, n := range []int{1, 5, flat, flat + 1, 500, 5000} {
		_, k := synced(t, manyEndpoints(n), service.IPv4)
		outcomes, err := k.Rules.Trace(tracer.Packet{
			Protocol: "tcp", Source: netip.MustParseAddrPort("10.99.0.1:1"), Destination: netip.MustParseAddrPort("10.96.0.1:80"), InInterface: "eth0",
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(outcomes) != n {
			t.Fatalf("%d endpoints of %d are reached", len(outcomes), n)
		}
		for _, o := range outcomes {
			if math.Abs(o.Probability*float64(n)-1) > inexact {
				t.Errorf("%s of %d has %g times its share", o.Destination, n, o.Probability*float64(n))
			}
		}
	}
}

// TestAConnectionToALargeServiceIsCheap bounds the number of rules that a connection walks on average.
func TestAConnectionToALargeServiceIsCheap(t *testing.T) {
	const most = 3 * 16
	_, k := synced(t, manyEndpoints(5000), service.IPv4)
	var walk func(chain string) float64
	walk = func(chain string) float64 {
		rules := k.Rules.Rules("nat", chain)
		total := 0.0
		for i, rule := range rules {
			// Each rule takes about the same share of the packets that come here.
			total += float64(i+1) / float64(len(rules))
			if to := target(rule); to != "" {
				total += walk(to) / float64(len(rules))
			}
		}
		return total
	}
	if got := walk(portChain(prefixService, service.PortName{Namespace: servicetest.Namespace, Name: "large", Protocol: service.TCP})); got > most {
		t.Errorf("a connection walks %.1f rules on average, want %d at the most", got, most)
	}
}

func TestOneEndpointOfALargeServiceChangesFewChains(t *testing.T) {
	builder := manyEndpoints(5000)
	b, k := synced(t, builder, service.IPv4)
	k.TakeRestores()
	builder.SetSlice(servicetest.Slice("large", "large-more", []string{"8080"}, "10.200.0.1@node-2"))
	table, dirty, _ := builder.Build()
	if err := b.Sync(t.Context(), table, dirty); err != nil {
		t.Fatal(err)
	}
	if chains := declared(k.TakeRestores()); len(chains) > 4 {
		t.Errorf("%d chains are written for one endpoint of 5,000: %v", len(chains), chains)
	}
}
