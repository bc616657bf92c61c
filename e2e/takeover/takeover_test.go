package takeover

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestFromIPTables takes over from kube-proxy's iptables mode and gives back.
func TestFromIPTables(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) { thereAndBack(t, variant, "iptables") })
}

// thereAndBack takes over from kube-proxy's modes of rules, and gives back, under traffic.
func thereAndBack(t *testing.T, variant, mode string) {
	c := newCluster(t, variant)
	c.startKubeProxy(mode)
	c.stage.Await()
	traffic := c.startTraffic()

	c.startFairlead()
	c.flows(traffic)
	c.Says("kube-proxy still runs beside Fairlead")
	if c.Log.Count("is removed") > 0 {
		t.Error("something of a running kube-proxy was removed")
	}
	c.stopKubeProxy()
	c.flows(traffic)
	c.takenOver()
	c.flows(traffic)

	c.Stop(syscall.SIGTERM)
	c.startKubeProxy(mode)
	c.flows(traffic)
	c.cleanup()
	c.flows(traffic)
	traffic.Stop().Check(t)
	for _, f := range lab.Families {
		if strings.Contains(c.Rules(f), "FL-") {
			t.Errorf("rules of Fairlead are left:\n%s", c.Rules(f))
		}
	}
}

// TestOursCountWhileKubeProxysAreStale lets both have rules, and changes the endpoints: new connections go to the new one only. Rules of
// nftables mode may come before Fairlead's, as the kernel orders them by when they were registered: they have to be removed first.
func TestOursCountWhileKubeProxysAreStale(t *testing.T) {
	modes := []string{"iptables", "nftables"}
	if site.Mode == site.IPVS {
		modes = []string{"iptables"}
	}
	for _, mode := range modes {
		site.ForEachVariant(t, func(t *testing.T, variant string) {
			t.Run(mode, func(t *testing.T) { oursCount(t, variant, mode) })
		})
	}
}

func oursCount(t *testing.T, variant, mode string) {
	c := newCluster(t, variant)
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
					answer, err := target.From.Ask(t.Context(), network, target.To, lab.Reset())
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
