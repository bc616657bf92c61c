//go:build soak

package churn

import (
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// kubeProxy starts the real kube-proxy on the second node, with the same variant of iptables that Fairlead uses on the first, and
// the settings it has by default.
func (c *cluster) kubeProxy(log *site.Log) *lab.Process {
	c.t.Helper()
	program, err := apiserver.KubernetesProgram("kube-proxy")
	if err != nil {
		c.t.Fatal(err)
	}
	programs := c.t.TempDir()
	if err := site.LinkIPTables(programs, c.Variant); err != nil {
		c.t.Fatal(err)
	}
	node := c.Nodes[1]
	// It becomes the program that it starts, so that this is the process to measure.
	p, err := node.StartProcess("env", []string{
		"PATH=" + programs + ":" + os.Getenv("PATH"),
		"XTABLES_LOCKFILE=" + filepath.Join(c.t.TempDir(), "kube-proxy.lock"),
		program,
		"--kubeconfig=" + c.Kubeconfig(c.plane),
		"--hostname-override=" + node.Name,
		"--proxy-mode=iptables",
		"--cluster-cidr=" + site.PodCIDRs,
		"--conntrack-max-per-core=0",
		"--conntrack-min=0",
		"--v=2",
	}, log)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("kube-proxy said:\n%s", log.String())
		}
	})
	return p
}
