package packets

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestEveryEndpointIsReached counts the answers of each server: every endpoint has to answer, and no other server. The probability
// that a random choice leaves out one of seven endpoints in so many connections is below 10⁻¹⁹.
func TestEveryEndpointIsReached(t *testing.T) {
	const connections = 300
	eachSize(t, []int{2, 3, 7}, connections, func(t *testing.T, answers answers) {
		if err := answers.complete(); err != nil {
			t.Error(err)
		}
	})
}

// answers are how often each server has answered for a Service, and the endpoints that have to.
type answers struct {
	counts    map[netip.AddrPort]int
	endpoints []netip.AddrPort
}

// complete checks that every endpoint has answered, and no other server.
func (a answers) complete() error {
	var errs []error
	for _, e := range a.endpoints {
		if a.counts[e] == 0 {
			errs = append(errs, fmt.Errorf("%s never answered", e))
		}
	}
	for server, n := range a.counts {
		if !slices.Contains(a.endpoints, server) {
			errs = append(errs, fmt.Errorf("%s answered %d times, and is no endpoint", server, n))
		}
	}
	return errors.Join(errs...)
}

// eachSize makes connections to Services with so many endpoints, on each variant and in each family.
func eachSize(t *testing.T, sizes []int, connections int, check func(*testing.T, answers)) {
	const atOnce = 4
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		client, servers := s.Pod(s.Node(), "client", 9000), s.Pod(s.Nodes[1], "servers", 8080)
		// One more than the largest Service has: a server that is not an endpoint.
		addresses, err := s.AddAddresses(servers, slices.Max(sizes)+1)
		if err != nil {
			t.Fatal(err)
		}
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
					a := answers{counts: counts}
					for _, address := range addresses[:n] {
						a.endpoints = append(a.endpoints, address.AddrPort(f, 8080))
					}
					check(t, a)
				})
			}
		}
	})
}
