//go:build ipvs

package ipvs

import (
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// spread is a stage with three endpoints.
type spread struct {
	*stage
	pods []endpoint
}

// spreadStage has three endpoints behind each of some Services.
func spreadStage(t *testing.T, services ...*corev1.Service) *spread {
	t.Helper()
	s := &spread{stage: newStage(t)}
	s.pods = []endpoint{{s.Pod(s.node1, "a", 8080), s.node1, ""}, {s.Pod(s.node1, "b", 8080), s.node1, ""}, {s.Pod(s.node2, "c", 8080), s.node2, ""}}
	for _, svc := range services {
		s.Write(svc.Name, svc)
		s.behind(svc.Name, s.pods...)
	}
	s.start()
	return s
}

// counts are how often each endpoint answers one client, on connections one after another, sorted.
func (s *stage) counts(network string, to netip.AddrPort, connections int) []int {
	s.t.Helper()
	counts, err := s.client.AskMany(s.t.Context(), network, to, connections, 1)
	if err != nil {
		s.t.Error(err)
	}
	return slices.Sorted(maps.Values(counts))
}

func TestRoundRobinIsExactAlsoOverARestart(t *testing.T) {
	s := spreadStage(t, site.DualStack("web", 10, webPorts...))
	for _, f := range lab.Families {
		for _, network := range []string{"tcp", "udp"} {
			counts := s.counts(network, vip(f, 10, 80), 31)
			if !slices.Equal(counts, []int{10, 10, 11}) {
				t.Errorf("%s %s: 31 connections are spread %v", f, network, counts)
			}
		}
	}
	before := s.kernel.mustState()
	sum := map[lab.Family]map[netip.AddrPort]int{}
	ask := func() {
		for _, f := range lab.Families {
			counts, err := s.client.AskMany(t.Context(), "tcp", vip(f, 10, 80), 8, 1)
			if err != nil {
				t.Error(err)
			}
			if sum[f] == nil {
				sum[f] = map[netip.AddrPort]int{}
			}
			for server, n := range counts {
				sum[f][server] += n
			}
		}
	}
	ask()
	s.Stop(syscall.SIGTERM)
	s.start()
	ask()
	s.Stop(syscall.SIGKILL)
	s.start()
	ask()
	s.becomes("a restart changes nothing", before)
	for f, counts := range sum {
		if n := slices.Sorted(maps.Values(counts)); !slices.Equal(n, []int{8, 8, 8}) {
			t.Errorf("%s: 24 connections over two restarts are spread %v", f, counts)
		}
	}
}
