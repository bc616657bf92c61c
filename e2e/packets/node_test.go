package packets

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// nodePortSite is a site with a Service on node port 30080 of both families, and a pod on the node behind it.
func nodePortSite(t *testing.T, variant string) (s *site.Site, server *lab.Host) {
	t.Helper()
	s = site.New(t, variant)
	server = s.Pod(s.Node(), "server", 8080)
	objects := []runtime.Object{site.DualStack("web", 10, "80=30080")}
	for _, f := range lab.Families {
		objects = append(objects, site.Slice(f, "web", "8080", site.At(f, server, s.Node())))
	}
	s.Write("web", objects...)
	return s, server
}

func TestANodePortGoesBeforeAHostProcess(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, server := nodePortSite(t, variant)
		s.Serve(s.Node(), 30080)
		s.Start()
		for _, f := range lab.Families {
			s.Answers(s.Outside, "tcp", s.Node().AddrPort(f, 30080))
			s.Eventually("the endpoint answers", func() error {
				e := expectation{network: "tcp", from: s.Outside, to: s.Node().AddrPort(f, 30080), servers: []netip.AddrPort{server.AddrPort(f, 8080)}}
				return e.check(t.Context(), lab.Timeout(lab.AttemptTimeout))
			})
		}
	})
}

func TestMasqueradedTrafficPassesAForwardPolicyOfDrop(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, _ := nodePortSite(t, variant)
		for _, program := range []string{"iptables-", "ip6tables-"} {
			if _, err := s.Node().Output(t.Context(), program+variant, "-P", "FORWARD", "DROP"); err != nil {
				t.Fatal(err)
			}
		}
		s.Start()
		for _, f := range lab.Families {
			s.Answers(s.Outside, "tcp", s.Node().AddrPort(f, 30080))
		}
	})
}

func TestMasqueradingCanUseTheNodesInternalIP(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, server := nodePortSite(t, variant)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Node().Name}}
		for _, f := range lab.Families {
			node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: s.Node().Address(f).String()})
		}
		s.Write("node", node)
		s.Start("--masquerade-address", "internal-ip")
		for _, f := range lab.Families {
			// By itself, the kernel would take the node's address on the pod network.
			e := expectation{network: "tcp", from: s.Outside, to: s.Node().AddrPort(f, 30080),
				servers: []netip.AddrPort{server.AddrPort(f, 8080)}, sees: is(s.Node().Address(f))}
			s.Eventually(f.String(), func() error { return e.check(t.Context(), lab.Timeout(lab.AttemptTimeout)) })
		}
	})
}

func TestALoadBalancerCanAskForLocalEndpoints(t *testing.T) {
	s, server := nodePortSite(t, "nft")
	svc := site.DualStack("balanced", 11, "80")
	svc.Spec.Type, svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = "LoadBalancer", "Local", 32000
	s.Write("balanced", svc)
	client := &http.Client{Transport: &http.Transport{DialContext: s.Outside.DialContext, DisableKeepAlives: true}}
	ask := func(f lab.Family, status int, parts ...string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Node().AddrPort(f, 32000).String()+"/", http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		text := fmt.Sprint(response.Header, string(body))
		for _, part := range parts {
			if !strings.Contains(text, part) {
				return fmt.Errorf("no %q in %s", part, text)
			}
		}
		if response.StatusCode != status {
			return fmt.Errorf("status %d, want %d", response.StatusCode, status)
		}
		return err
	}
	s.Start()
	for _, f := range lab.Families {
		s.Eventually("none here", func() error { return ask(f, http.StatusServiceUnavailable, `"localEndpoints": 0`) })
		s.Write(fmt.Sprintf("balanced-%d", f), site.Slice(f, "balanced", "8080", site.At(f, server, s.Node())))
		s.Eventually("one here", func() error {
			return ask(f, http.StatusOK, `"localEndpoints": 1`, `"serviceProxyHealthy": true`, "X-Load-Balancing-Endpoint-Weight:[1]")
		})
	}
}

func TestATakenHealthCheckPortIsSaidOnceAndTriedAgain(t *testing.T) {
	s, _ := nodePortSite(t, "nft")
	taken, err := s.Node().ServeTCP(lab.Wildcard(lab.IPv4, 32000))
	if err != nil {
		t.Fatal(err)
	}
	svc := site.DualStack("balanced", 11, "80")
	svc.Spec.Type, svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = "LoadBalancer", "Local", 32000
	s.Write("balanced", svc)
	s.Start(site.ModeFlag("sync-period"), "1s")
	s.Says("FailedToStartServiceHealthcheck")
	s.Answers(s.Outside, "tcp", s.Node().AddrPort(lab.IPv4, 30080))
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the port is had", func() error {
		conn, err := s.Outside.Dial(context.Background(), "tcp", s.Node().AddrPort(lab.IPv4, 32000), netip.AddrPort{})
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if n := s.Log.Count("FailedToStartServiceHealthcheck"); n != 1 {
		t.Errorf("the event is said %d times", n)
	}
}
