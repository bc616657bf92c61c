package operations

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

func sysctl(t *testing.T, s *site.Site, path string) string {
	t.Helper()
	out, err := s.Node().Output(context.Background(), "cat", "/proc/sys/"+path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestAfterInitFairleadNeedsTheNetworksPrivilegesOnly(t *testing.T) {
	s, client := web(t, "nft")
	s.StartProcess("--manifests", s.Manifests, "--init-only", "--conntrack-tcp-timeout-close-wait", "59m")
	s.Says("The node is prepared")
	if got := sysctl(t, s, "net/ipv4/conf/all/route_localnet"); got != "1" {
		t.Errorf("route_localnet is %s", got)
	}
	if got := sysctl(t, s, "net/netfilter/nf_conntrack_tcp_timeout_close_wait"); got != "3540" {
		t.Errorf("the timeout is %s", got)
	}
	main := s.StartUnprivileged("--manifests", s.Manifests, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-close-wait", "59m")
	s.Serves(site.HealthzPort, "/readyz", 200)
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	if err := main.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if log := s.Log.String(); strings.Contains(log, "Could not") || strings.Contains(log, "read-only") {
		t.Errorf("something could not be done:\n%s", log)
	}
}

func TestWithoutInitFairleadSaysOnceWhatItLacksAndForwards(t *testing.T) {
	s, client := web(t, "nft")
	main := s.StartUnprivileged("--manifests", s.Manifests, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-close-wait", "59m", "--iptables-sync-period", "1s",
		"--iptables-min-sync-period", "100ms")
	s.Serves(site.HealthzPort, "/readyz", 200)
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	s.Write("more", site.DualStack("more", 11, "80")) // another sync
	s.Serves(site.MetricsPort, "/metrics", 200, `fairlead_services{ip_family="IPv4"} 2`, `fairlead_failures_total{ip_family="IPv4",task="sync"} 0`)
	if err := main.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, once := range []string{"net.ipv4.conf.all.route_localnet=1", "nf_conntrack_tcp_timeout_close_wait"} {
		if n := s.Log.Count(once); n != 1 {
			t.Errorf("%q is said %d times:\n%s", once, n, s.Log.String())
		}
	}
}
