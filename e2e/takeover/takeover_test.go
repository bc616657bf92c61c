package takeover

import (
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
)

// TestFromIPTables takes over from kube-proxy's iptables mode and gives back.
func TestFromIPTables(t *testing.T) { thereAndBack(t, "iptables") }

// TestFromNFTables takes over from kube-proxy's nftables mode and gives back.
func TestFromNFTables(t *testing.T) { thereAndBack(t, "nftables") }

// thereAndBack takes over from kube-proxy's modes of rules, and gives back, under traffic.
func thereAndBack(t *testing.T, mode string) {
	t.Helper()
	variants := []string{"nft"}
	if tier.Soak {
		variants = site.Variants
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			c := newCluster(t, variant, mode)
			c.startKubeProxy(mode)
			c.stage.Await()
			flow := c.startTraffic()
			c.step("traffic flows")

			c.startFairlead()
			flow.More(t, 2)
			c.Says("kube-proxy still runs beside Fairlead")
			if c.Log.Count("is removed") > 0 {
				t.Error("something of a running kube-proxy was removed")
			}
			c.step("both serve")
			c.stopKubeProxy()
			c.takenOver()
			c.step("kube-proxy is replaced")
			flow.More(t, 2)

			c.Stop(syscall.SIGTERM)
			c.startKubeProxy(mode)
			flow.More(t, 2)
			c.step("kube-proxy serves again")
			c.cleanup()
			flow.More(t, 2)
			flow.Stop().Check(t)
			for _, f := range lab.Families {
				c.othersStay(f)
				if strings.Contains(c.Rules(f), "FL-") {
					t.Errorf("rules of Fairlead are left:\n%s", c.Rules(f))
				}
			}
		})
	}
}
