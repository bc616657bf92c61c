//go:build soak

package churn

import (
	"path/filepath"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// kubeProxy starts the real kube-proxy on the second node, with the same variant of iptables that Fairlead uses on the first, and
// the settings it has by default. The lock of iptables is a file that all nodes of the lab share; it gets one of its own.
func (c *cluster) kubeProxy(log *site.Log) *lab.Process {
	c.t.Helper()
	lock := "XTABLES_LOCKFILE=" + filepath.Join(c.t.TempDir(), "kube-proxy.lock")
	return c.StartKubeProxy(c.Nodes[1], log, []string{lock}, "--kubeconfig="+c.Kubeconfig(c.plane), "--proxy-mode=iptables")
}
