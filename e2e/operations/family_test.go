package operations

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// withoutIP6Tables runs Fairlead where ip6tables can do nothing, as on a kernel with IPv6 and without its packet filter: what is said
// then, and the exit status, are those of iptables 1.8. What it returns makes ip6tables work from then on.
func withoutIP6Tables(t *testing.T, s *site.Site, flags ...string) (works func()) {
	t.Helper()
	programs := t.TempDir()
	fake := filepath.Join(programs, "ip6tables-"+s.Variant+"-restore")
	const program = "#!/bin/sh\necho \"ip6tables-restore: unable to initialize table 'nat'\" >&2\nexit 3\n"
	if err := os.WriteFile(fake, []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"PATH=" + programs + ":" + os.Getenv("PATH"), site.Program, "--hostname-override", s.Node().Name,
		"--manifests", s.Manifests, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "--conntrack-max-per-core", "0",
		"-v", "4", "--iptables-min-sync-period", "100ms", "--iptables-sync-period", "1s"}, flags...)
	if _, err := s.Node().StartProcess("env", args, &s.Log); err != nil {
		t.Fatal(err)
	}
	return func() {
		path, err := exec.LookPath(filepath.Base(fake))
		if err == nil {
			err = errors.Join(os.Symlink(path, fake+".new"), os.Rename(fake+".new", fake))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAKernelWithoutIP6TablesServesIPv4(t *testing.T) {
	t.Parallel()
	s := site.New(t, "legacy")
	server := s.Pod(s.Nodes[1], "server", 8080)
	client := s.Pod(s.Node(), "client", 9000)
	s.Write("web", servicetest.Service("web", site.ClusterIP(lab.IPv4, 10).String(), "80"),
		site.Slice(lab.IPv4, "web", "8080", site.At(lab.IPv4, server, s.Nodes[1])))
	withoutIP6Tables(t, s)
	s.Says("Synced for the first time")
	s.Answers(client, "tcp", vip(lab.IPv4))
	s.Says("unable to initialize table 'nat'")
	for _, path := range []string{"/readyz", "/healthz", "/livez"} {
		s.Serves(site.HealthzPort, path, http.StatusOK)
	}

	s.Write("six", site.DualStack("six", 11, "80"))
	s.Serves(site.HealthzPort, "/livez", http.StatusServiceUnavailable, `"IPv6":{"lastUpdated":`, `"healthy":false`)
	s.Answers(client, "tcp", vip(lab.IPv4))
	if n := s.Log.Count("Could not sync the rules"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestReadyAfterTheFirstSyncOfEveryFamily holds IPv6 up while IPv4 is written.
func TestReadyAfterTheFirstSyncOfEveryFamily(t *testing.T) {
	t.Parallel()
	s, client := web(t, "nft")
	// With the usual sync period, a family that waits is healthy for another minute.
	works := withoutIP6Tables(t, s, "--iptables-sync-period", "30s")
	s.Answers(client, "tcp", vip(lab.IPv4))
	s.Eventually("IPv6 fails to sync three times", func() error {
		if n := s.Log.Count(`"Sync failed" family="IPv6"`); n < 3 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	if status, body, err := s.Get(site.HealthzPort, "/readyz"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: status %d, %v, while IPv6 is not written: %s", status, err, body)
	}
	for _, path := range []string{"/healthz", "/livez"} {
		if status, body, err := s.Get(site.HealthzPort, path); err != nil || status != http.StatusOK {
			t.Errorf("%s: status %d, %v, while IPv6 is not late yet: %s", path, status, err, body)
		}
	}
	works()
	s.Serves(site.HealthzPort, "/readyz", http.StatusOK, `"IPv4":{`, `"IPv6":{`)
	s.Answers(client, "tcp", vip(lab.IPv6))
}
