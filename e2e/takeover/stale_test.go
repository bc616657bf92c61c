//go:build soak

package takeover

import (
	"fmt"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestFairleadsRulesCountWhileKubeProxysAreStale lets both have rules, and changes the endpoints: new connections go to the new one only. The
// chains of nftables mode may come before Fairlead's, as the kernel orders them by when they were registered: they have to be removed first.
func TestFairleadsRulesCountWhileKubeProxysAreStale(t *testing.T) {
	modes := []string{"iptables", "nftables"}
	if site.Mode == site.IPVS {
		modes = []string{"iptables"}
	}
	for _, mode := range modes {
		site.ForEachVariant(t, func(t *testing.T, variant string) {
			t.Run(mode, func(t *testing.T) { fairleadsCount(t, variant, mode) })
		})
	}
}

func fairleadsCount(t *testing.T, variant, mode string) {
	c := newCluster(t, variant, mode)
	c.startKubeProxy(mode)
	c.stage.Await()
	c.startFairlead(fmt.Sprintf("--take-over=%t", mode == "nftables"))
	c.stopKubeProxy()
	only := c.Pod(c.Nodes[1], "only", 8080)
	for _, f := range lab.Families {
		slice := site.Slice(f, "traffic", "0", site.At(f, only, c.Nodes[1]))
		slice.Ports = servicetest.Slice("", "", []string{"tcp:8080", "udp:8080/UDP"}).Ports
		c.objects.Set(slice)
	}
	for _, target := range c.stage.Targets {
		for _, network := range []string{"tcp", "udp"} {
			c.Eventually(fmt.Sprintf("%s %s is served by the new endpoint alone", network, target), func() error {
				for range 10 {
					answer, err := target.From.Ask(t.Context(), network, target.To, lab.Timeout(lab.AttemptTimeout), lab.Reset())
					if err != nil {
						return err
					}
					if a := answer.Server.Addr(); a != only.IPv4 && a != only.IPv6 {
						return fmt.Errorf("%s answers", a)
					}
				}
				return nil
			})
		}
	}
}
