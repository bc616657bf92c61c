//go:build ipvs && soak

package takeover

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestFromIPVS takes over from kube-proxy's IPVS mode, in the mode that FAIRLEAD_MODE names, and gives back.
func TestFromIPVS(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		c := newCluster(t, variant, "ipvs")
		// Connections that have ended are forgotten soon, or the test would take minutes more.
		timeouts := []string{"--ipvs-tcpfin-timeout=10s", "--ipvs-udp-timeout=40s"}
		c.startKubeProxy("ipvs", timeouts...)
		c.step("kube-proxy serves")
		c.stage.Await()
		c.takeOver()
		c.giveBack(timeouts)
	})
}

// takeOver starts Fairlead and stops kube-proxy, whose virtual servers have to stay as long as connections stand.
func (c *cluster) takeOver() {
	c.t.Helper()
	flow := c.startTraffic()
	c.step("traffic flows")
	c.startFairlead()
	c.step("Fairlead serves too")
	flow.More(c.t, 2)
	c.stopKubeProxy()
	c.step("kube-proxy has stopped")
	for _, f := range lab.Families {
		c.Says(fmt.Sprintf("Took over from kube-proxy for %s: its virtual servers stay", f))
	}
	flow.More(c.t, 2)
	if _, err := c.Node().Output(c.t.Context(), "ip", "link", "show", "kube-ipvs0"); err == nil {
		c.t.Error("kube-ipvs0 is left")
	}
	flow.Stop().Check(c.t)
	c.step("all connections have ended")
	c.takenOver()
}

// giveBack starts kube-proxy in Fairlead's place.
func (c *cluster) giveBack(timeouts []string) {
	c.t.Helper()
	flow := c.startTraffic()
	c.step("Fairlead serves alone")
	c.Stop(syscall.SIGTERM)
	c.startKubeProxy("ipvs", timeouts...)
	c.step("kube-proxy serves again")
	flow.More(c.t, 2)
	c.cleanup()
	flow.More(c.t, 2)
	flow.Stop().Check(c.t)
}
