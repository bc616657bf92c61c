package operations

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

// get asks a server on the node itself.
func get(t *testing.T, s *site.Site, port int, path string) (status int, body string, err error) {
	t.Helper()
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return s.Node().DialContext(ctx, network, address)
			},
		},
		Timeout: 10 * time.Second,
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// answers waits until a server on the node answers with a status and some words.
func answers(t *testing.T, s *site.Site, port int, path string, status int, words ...string) {
	t.Helper()
	s.Eventually(fmt.Sprintf("%s answers %d", path, status), func() error {
		got, body, err := get(t, s, port, path)
		if err != nil {
			return err
		}
		if got != status {
			return fmt.Errorf("got %d: %s", got, body)
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("no %q in %s", word, body)
			}
		}
		return nil
	})
}

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

const (
	healthzPort = 10256
	metricsPort = 10249
)

func TestTheServersAnswer(t *testing.T) {
	s, _ := web(t, "nft")
	s.Start()
	answers(t, s, healthzPort, "/readyz", 200, `"healthy":true`, `"IPv4"`, `"IPv6"`)
	answers(t, s, healthzPort, "/healthz", 200, `"nodeEligible":true`)
	answers(t, s, healthzPort, "/livez", 200)
	answers(t, s, metricsPort, "/proxyMode", 200, site.Mode)
	answers(t, s, metricsPort, "/configz", 200, "kubeproxy.config.k8s.io")
	answers(t, s, metricsPort, "/metrics", 200,
		`fairlead_synced{ip_family="IPv4"} 1`, `fairlead_synced{ip_family="IPv6"} 1`, `fairlead_services{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}`, `kubeproxy_proxy_healthz_total{code="200"}`)
}

// TestAKubeProxysPortsAreTakenWhenItGoes is how it is while Fairlead takes over from one.
func TestAKubeProxysPortsAreTakenWhenItGoes(t *testing.T) {
	s, _ := web(t, "nft")
	var taken []net.Listener
	for _, port := range []int{healthzPort, metricsPort} {
		l, err := s.Node().Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, l)
	}
	s.Start()
	s.Says(fmt.Sprint(metricsPort, ": bind: address already in use"))
	s.Says(fmt.Sprint(healthzPort, ": bind: address already in use"))
	s.Says("Synced for the first time")
	for _, l := range taken {
		l.Close()
	}
	answers(t, s, healthzPort, "/readyz", 200)
	answers(t, s, metricsPort, "/metrics", 200)
	if n := s.Log.Count("Cannot serve"); n != 2 {
		t.Errorf("said %d times, want once for each port", n)
	}
}

func TestATakenPortEndsFairleadByFlag(t *testing.T) {
	s, _ := web(t, "nft")
	taken, err := s.Node().Listen("tcp", fmt.Sprintf("127.0.0.1:%d", metricsPort))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.StartProcess("--manifests", s.Manifests, "--bind-address-hard-fail")
	s.Says("Fairlead ends")
	if !strings.Contains(s.Log.String(), fmt.Sprint(metricsPort)) {
		t.Errorf("does not name the port:\n%s", s.Log.String())
	}
}

func TestASecondFairleadWaitsForTheFirst(t *testing.T) {
	s, client := web(t, "nft")
	s.Start()
	s.Says("Synced for the first time")
	second := s.StartProcess("--manifests", s.Manifests)
	s.Says("Waiting: another Fairlead")
	s.Stop(syscall.SIGTERM)
	s.Says("The other Fairlead has ended")
	s.Eventually("the second syncs both families", func() error {
		if n := s.Log.Count("Synced for the first time"); n != 4 {
			return fmt.Errorf("%d times synced first", n)
		}
		return nil
	})
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	if err := second.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestSIGTERMEndsAtOnceAndLeavesTheRules(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client := web(t, variant)
		s.Start()
		s.Says("Synced for the first time")
		answers(t, s, healthzPort, "/readyz", 200)
		before := s.Rules(lab.IPv4)
		start := time.Now()
		s.Stop(syscall.SIGTERM)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		} else {
			t.Logf("took %v", took)
		}
		if s.Rules(lab.IPv4) != before {
			t.Error("the rules have changed")
		}
		for _, f := range lab.Families {
			s.Answers(client, "tcp", vip(f))
		}
	})
}
