package churn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// kubeProxy starts the real kube-proxy on the second node, with the same variant of iptables that Fairlead uses on the first, and
// the settings it has by default.
func (c *cluster) kubeProxy(log *site.Log) *lab.Process {
	c.t.Helper()
	program, err := kubeProxyPath()
	if err != nil {
		c.t.Fatal(err)
	}
	programs := c.t.TempDir()
	if err := linkVariant(programs, c.Variant); err != nil {
		c.t.Fatal(err)
	}
	node := c.Nodes[1]
	// It becomes the program that it starts, so that this is the process to measure.
	p, err := node.StartProcess("env", []string{
		"PATH=" + programs + ":" + os.Getenv("PATH"),
		"XTABLES_LOCKFILE=" + filepath.Join(c.t.TempDir(), "kube-proxy.lock"),
		program,
		"--kubeconfig=" + c.kubeconfig(),
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

// kubeProxyPath returns where kube-proxy is: where the environment says, else where hack/kube/build.sh puts it.
func kubeProxyPath() (string, error) {
	path := os.Getenv("KUBE_PROXY")
	if path == "" {
		cache := os.Getenv("FAIRLEAD_CACHE")
		if cache == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				return "", fmt.Errorf("find the cache with kube-proxy: %w", err)
			}
			cache = filepath.Join(user, "fairlead")
		}
		path = filepath.Join(cache, "bin", "kube-proxy")
	}
	path, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("find kube-proxy (build it by: hack/kube/build.sh kube-proxy): %w", err)
	}
	return filepath.Abs(path)
}

// linkVariant fills a folder with programs called iptables, iptables-save and so on, which are those of the variant.
func linkVariant(dir, variant string) error {
	var errs []error
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, action := range []string{"", "-save", "-restore"} {
			path, err := exec.LookPath(family + "-" + variant + action)
			if err == nil {
				// The program tells by the name it is called by what it has to do, and not every name will do behind a link.
				path, err = filepath.EvalSymlinks(path)
			}
			if err == nil {
				err = os.Symlink(path, filepath.Join(dir, family+action))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
