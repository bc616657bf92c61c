package differential

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/e2e/site"
)

// podRange is the flag for the range of all pods, and noPodRange what takes it back in the flags of a case. Kube-proxy refuses
// an empty one, so that it gets none of the two.
const (
	podRange   = "--cluster-cidr=" + site.PodCIDRs
	noPodRange = "--cluster-cidr="
)

// kubeProxyArgs are the flags of kube-proxy.
func kubeProxyArgs(kubeconfig string, flags cases.Flags) []string {
	args := []string{
		"--kubeconfig=" + kubeconfig, "--hostname-override=" + cases.Node1,
		"--proxy-mode=iptables", "--iptables-min-sync-period=50ms",
		// The table of connections belongs to the whole machine, which the lab leaves alone.
		"--conntrack-max-per-core=0", "--conntrack-min=0",
	}
	own := flags.Args()
	if !slices.Contains(own, noPodRange) {
		return slices.Concat(args, []string{podRange}, own)
	}
	own = slices.DeleteFunc(own, func(arg string) bool { return arg == noPodRange })
	return append(args, own...)
}

// startKubeProxy runs kube-proxy on node1 until the end of the test, and then leaves no rule of it behind.
func (c *cluster) startKubeProxy(t *testing.T, flags cases.Flags) {
	t.Helper()
	kubeconfig, err := c.plane.Kubeconfig(apiserver.KubeProxyUser)
	if err != nil {
		t.Fatal(err)
	}
	var log site.Log
	if c.kubeProxy, err = c.xtables.start(&log, append([]string{c.program}, kubeProxyArgs(kubeconfig, flags)...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// How it ends is no news.
		_ = c.kubeProxy.Stop(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("kube-proxy's log ends with\n%s", lastLines(log.String(), 12))
		}
		if err := c.xtables.flush(); err != nil {
			t.Error(err)
		}
	})
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
