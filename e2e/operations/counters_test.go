package operations

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// connections is what /metrics says of a Service, as a text; empty: nothing.
func connections(t *testing.T, s *site.Site, f lab.Family, service string) string {
	t.Helper()
	_, body, err := s.Get(site.MetricsPort, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	series := regexp.MustCompile(`(?m)^fairlead_service_connections_total\{ip_family="` + f.String() + `",protocol="tcp",service_name="` + service + `",.*\} (\d+)$`)
	if m := series.FindStringSubmatch(body); m != nil {
		return m[1]
	}
	return ""
}

// counted waits until the counters have been read after all that has happened so far, and then wants so many connections: what is counted
// later than that is wrong, as is what never is.
func counted(t *testing.T, s *site.Site, service string, want map[lab.Family]int) {
	t.Helper()
	s.Verified(2)
	for _, f := range lab.Families {
		if got := connections(t, s, f, service); got != strconv.Itoa(want[f]) {
			t.Errorf("%s: %q connections of %s are counted, want %d", f, got, service, want[f])
		}
	}
}

// TestConnectionsOfAServiceAreCounted makes connections by every way in: a pod and the node itself to the cluster IP, the node's port, and
// an outsider, while endpoints come and go.
func TestConnectionsOfAServiceAreCounted(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client := web(t, variant)
		svc := site.DualStack("web", 10, "80")
		svc.Spec.Type, svc.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
		s.Write("web", svc)
		s.Write("quiet", site.DualStack("quiet", 11, "80"))
		s.Start("--iptables-sync-period", "1s", "--service-counters")
		s.Says("Synced for the first time")
		for _, f := range lab.Families {
			s.Answers(client, "tcp", vip(f))
		}
		s.Verified(2)
		want := map[lab.Family]int{}
		for _, f := range lab.Families {
			before, err := strconv.Atoi(connections(t, s, f, "web")) // of the tries before it answered
			if err != nil {
				t.Fatal(err)
			}
			want[f] = before
		}
		ask := func(n int, port netip.AddrPort, from *lab.Host) {
			t.Helper()
			if _, err := from.AskMany(t.Context(), "tcp", port, n, 4); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range lab.Families {
			nodePort := netip.AddrPortFrom(s.Node().Address(f), 30080)
			ask(17, vip(f), client)
			ask(5, vip(f), s.Node())
			ask(7, nodePort, s.Outside)
			want[f] += 17 + 5 + 7
		}
		counted(t, s, "web", want)
		counted(t, s, "quiet", map[lab.Family]int{})

		// One connection of many packets is one.
		for _, f := range lab.Families {
			c, err := client.Connect(t.Context(), vip(f))
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if err := c.Echo(t.Context(), "still there"); err != nil {
					t.Fatal(err)
				}
			}
			want[f]++
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		counted(t, s, "web", want)

		another := s.Pod(s.Nodes[1], "another", 8080)
		for _, f := range lab.Families {
			s.Write("slice-"+f.String(), site.Slice(f, "web", "8080", site.At(f, another, s.Nodes[1])))
		}
		for _, f := range lab.Families {
			s.Eventually("the other endpoint answers", func() error {
				a, err := client.Ask(t.Context(), "tcp", vip(f))
				if err != nil {
					t.Fatal(err) // the former one is there still
				}
				want[f]++
				if a.Server.Addr() != another.Address(f) {
					return fmt.Errorf("%s did", a.Server)
				}
				return nil
			})
			ask(11, vip(f), client)
			want[f] += 11
		}
		counted(t, s, "web", want)

		s.Write("web") // there is no such Service any more
		s.Eventually("its series are gone", func() error {
			for _, f := range lab.Families {
				if n := connections(t, s, f, "web"); n != "" {
					return fmt.Errorf("%s: %s connections", f, n)
				}
			}
			return nil
		})
	})
}

func TestNothingIsCountedUnlessAskedFor(t *testing.T) {
	s, client := web(t, "nft")
	s.Start("--iptables-sync-period", "1s")
	for _, f := range lab.Families {
		s.Answers(client, "tcp", vip(f))
	}
	s.Verified(2)
	for _, f := range lab.Families {
		if n := connections(t, s, f, "web"); n != "" {
			t.Errorf("%s: %s connections are counted", f, n)
		}
	}
}
