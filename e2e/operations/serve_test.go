package operations

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

// web is a site with one Service.
func web(t *testing.T, variant string) (s *site.Site, client *lab.Host) {
	t.Helper()
	s = site.New(t, variant)
	server := s.Pod(s.Nodes[1], "server", 8080)
	client = s.Pod(s.Node(), "client", 9000)
	s.Write("web", site.DualStack("web", 10, "80"))
	for _, f := range lab.Families {
		s.Write("slice-"+f.String(), site.Slice(f, "web", "8080", site.At(f, server, s.Nodes[1])))
	}
	return s, client
}

func TestTheServersAnswer(t *testing.T) {
	s, _ := web(t, "nft")
	s.Start()
	s.Serves(site.HealthzPort, "/readyz", 200, `"healthy":true`, `"IPv4"`, `"IPv6"`)
	s.Serves(site.HealthzPort, "/healthz", 200, `"nodeEligible":true`)
	s.Serves(site.HealthzPort, "/livez", 200)
	s.Serves(site.MetricsPort, "/proxyMode", 200, site.Mode)
	s.Serves(site.MetricsPort, "/configz", 200, "kubeproxy.config.k8s.io")
	s.Serves(site.MetricsPort, "/metrics", 200,
		`fairlead_synced{ip_family="IPv4"} 1`, `fairlead_synced{ip_family="IPv6"} 1`, `fairlead_services{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}`, `kubeproxy_proxy_healthz_total{code="200"}`)
}

// TestAKubeProxysPortsAreTakenWhenItGoes is how it is while Fairlead takes over from one.
func TestAKubeProxysPortsAreTakenWhenItGoes(t *testing.T) {
	t.Parallel()
	s, _ := web(t, "nft")
	var taken []net.Listener
	for _, port := range []int{site.HealthzPort, site.MetricsPort} {
		l, err := s.Node().Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, l)
	}
	s.Start()
	s.Says(fmt.Sprint(site.MetricsPort, ": bind: address already in use"))
	s.Says(fmt.Sprint(site.HealthzPort, ": bind: address already in use"))
	s.Says("Synced for the first time")
	t.Log("the port of metrics is free: that of health checks is still tried")
	taken[1].Close()
	s.Serves(site.MetricsPort, "/metrics", 200, `fairlead_events_total{reason="FailedToStartMetricServer"} 1`, `fairlead_events_total{reason="FailedToStartProxierHealthcheck"} 1`)
	taken[0].Close()
	s.Serves(site.HealthzPort, "/readyz", 200)
	for text, want := range map[string]int{"Cannot serve": 2, "The port is free now": 2} {
		if n := s.Log.Count(text); n != want {
			t.Errorf("%q is logged %d times, want once for each port", text, n)
		}
	}
}

func TestATakenPortEndsFairleadByFlag(t *testing.T) {
	s, _ := web(t, "nft")
	taken, err := s.Node().Listen("tcp", fmt.Sprintf("127.0.0.1:%d", site.MetricsPort))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.StartProcess("--manifests", s.Manifests, "--bind-address-hard-fail")
	s.Says("Fairlead ends")
	if !strings.Contains(s.Log.String(), fmt.Sprint(site.MetricsPort)) {
		t.Errorf("does not name the port:\n%s", s.Log.String())
	}
}

func TestASecondFairleadWaitsForTheFirst(t *testing.T) {
	s, client := web(t, "nft")
	s.Start(site.ModeFlag("sync-period"), "500ms")
	const firstSync = "Synced for the first time"
	synced := func(times int) {
		t.Helper()
		s.Eventually(fmt.Sprintf("%q is logged %d times", firstSync, times), func() error {
			if n := s.Log.Count(firstSync); n != times {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
	}
	synced(len(lab.Families))
	const otherPort = 20256
	second := s.StartProcess("--manifests", s.Manifests, "--healthz-bind-address", fmt.Sprintf("127.0.0.1:%d", otherPort))
	s.Says("Waiting: another Fairlead")
	s.Serves(otherPort, "/readyz", 503, `"reason":"waiting: another Fairlead`)
	s.Serves(otherPort, "/livez", 200)
	s.Says(fmt.Sprint(site.MetricsPort, ": bind: address already in use"))
	s.Verified(2)
	for text, want := range map[string]int{"Waiting: another Fairlead": 1, firstSync: len(lab.Families), "Repairing rules": 0} {
		if n := s.Log.Count(text); n != want {
			t.Errorf("while the second waits, %q is logged %d times, want %d", text, n, want)
		}
	}
	s.Stop(syscall.SIGTERM)
	s.Says("The other Fairlead has ended")
	synced(2 * len(lab.Families))
	s.Serves(otherPort, "/readyz", 200)
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	if err := second.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestSIGTERMLeavesTheRules(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client := web(t, variant)
		s.Start()
		s.Serves(site.HealthzPort, "/readyz", 200)
		s.Settled()
		before := map[lab.Family]string{}
		for _, f := range lab.Families {
			s.Answers(client, "tcp", vip(f))
			before[f] = s.Rules(f)
		}
		s.Stop(syscall.SIGTERM)
		for _, f := range lab.Families {
			if after := s.Rules(f); after != before[f] {
				t.Errorf("%s: the rules were\n%s\nand are\n%s", f, before[f], after)
			}
			s.Answers(client, "tcp", vip(f))
		}
	})
}
