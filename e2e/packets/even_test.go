package packets

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestConnectionsSpreadEvenly holds the spread over endpoints against a fair one.
func TestConnectionsSpreadEvenly(t *testing.T) {
	const connections, atOnce, level = 3000, 4, 0.001
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		client, servers := s.Pod(s.Node(), "client", 9000), s.Pod(s.Nodes[1], "servers", 8080)
		addresses, err := s.AddAddresses(servers, 100)
		if err != nil {
			t.Fatal(err)
		}
		sizes := []int{2, 3, 7, 100}
		for _, n := range sizes {
			name := fmt.Sprintf("web-%d", n)
			s.Write(name, site.DualStack(name, n, "80"))
			for _, f := range lab.Families {
				var endpoints []string
				for _, a := range addresses[:n] {
					endpoints = append(endpoints, a.Address(f).String()+"@"+s.Nodes[1].Name)
				}
				s.Write(fmt.Sprintf("%s-%d", name, f), site.Slice(f, name, "8080", endpoints...))
			}
		}
		s.Start()
		for _, f := range lab.Families {
			for _, n := range sizes {
				t.Run(fmt.Sprintf("%s over %d endpoints", f, n), func(t *testing.T) {
					to := netip.AddrPortFrom(site.ClusterIP(f, n), 80)
					s.Answers(client, "tcp", to)
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
