package operations

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestANodeWithoutConntrackServes hides the settings of connection tracking, which are not there before the kernel has loaded nf_conntrack.
func TestANodeWithoutConntrackServes(t *testing.T) {
	s, client := web(t, "nft")
	const script = `set -e
mount --make-rprivate /
mount -t tmpfs none /proc/sys/net/netfilter
exec "$@"`
	_, err := s.Node().StartProcess("unshare", []string{"--mount", "sh", "-c", script, "sh", site.Program, "--hostname-override", s.Node().Name,
		"--manifests", s.Manifests, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "-v", "4",
		"--iptables-min-sync-period", "100ms", "--iptables-sync-period", "500ms", "--conntrack-tcp-timeout-close-wait", "59m"}, &s.Log)
	if err != nil {
		t.Fatal(err)
	}
	s.Serves(site.HealthzPort, "/readyz", 200)
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	s.Write("more", site.DualStack("more", 11, "80"))
	s.Serves(site.MetricsPort, "/metrics", 200, `fairlead_services{ip_family="IPv4"} 2`, `fairlead_services{ip_family="IPv6"} 2`)
	s.Verified(2)
	if n := s.Log.Count("The kernel has not loaded nf_conntrack yet"); n != 1 {
		t.Errorf("that nf_conntrack is not loaded is logged %d times", n)
	}
	for _, text := range []string{"Could not raise the number of connections", "Could not set how the kernel tracks connections"} {
		if n := s.Log.CountErrors(text); n != 0 {
			t.Errorf("%q is logged %d times, although there is nothing yet to set", text, n)
		}
	}
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
}
