package packets

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

// TestConnectionsSpreadEvenly holds the spread over endpoints against a fair one.
func TestConnectionsSpreadEvenly(t *testing.T) {
	const connections, atOnce, level = 3000, 4, 0.001
	forEachVariant(t, func(t *testing.T, variant string) {
		s := newSite(t, variant)
		client, servers := s.pod(s.node(), "client", 9000), s.pod(s.Nodes[1], "servers", 8080)
		addresses, err := s.AddAddresses(servers, 100)
		if err != nil {
			t.Fatal(err)
		}
		sizes := []int{2, 3, 7, 100}
		for _, n := range sizes {
			name := fmt.Sprintf("web-%d", n)
			s.write(name, dualStack(name, n, "80"))
			for _, f := range lab.Families {
				var endpoints []string
				for _, a := range addresses[:n] {
					endpoints = append(endpoints, a.Address(f).String()+"@"+s.Nodes[1].Name)
				}
				s.write(fmt.Sprintf("%s-%d", name, f), sliceOf(f, name, "8080", endpoints...))
			}
		}
		s.start()
		for _, f := range lab.Families {
			for _, n := range sizes {
				t.Run(fmt.Sprintf("%s over %d endpoints", f, n), func(t *testing.T) {
					to := netip.AddrPortFrom(clusterIP(f, n), 80)
					s.answers(client, "tcp", to)
					counts, err := client.AskMany(t.Context(), "tcp", to, connections, atOnce)
					if err != nil {
						t.Fatal(err)
					}
					if p := lab.Even(counts, n); p < level {
						t.Errorf("a fair spread is this uneven with a chance of %g only: %v", p, counts)
					}
				})
			}
		}
	})
}
