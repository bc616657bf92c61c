//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
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

func TestServicesAreSpreadAsTheyAsk(t *testing.T) {
	sticky := site.DualStack("sticky", 13, webPorts...)
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	weighted := annotated(site.DualStack("weighted", 10, webPorts...), service.AnnotationScheduler, "wrr")
	annotated(weighted, service.AnnotationWeights, "node/node1=1, *=3")
	s := spreadStage(t, weighted,
		annotated(site.DualStack("mh", 11, webPorts...), service.AnnotationScheduler, "mh"),
		annotated(site.DualStack("sh", 12, webPorts...), service.AnnotationScheduler, "sh"),
		sticky,
	)
	tests := []struct {
		name string
		n    int
		want []int
	}{
		{"by weight: 1, 1 and 3", 10, []int{5, 5, 15}},
		{"mh: a client stays where it is", 11, []int{25}},
		{"sh: a client stays where it is", 12, []int{25}},
		{"session affinity: a client stays where it is", 13, []int{25}},
	}
	for _, test := range tests {
		for _, f := range lab.Families {
			for _, network := range []string{"tcp", "udp"} {
				t.Run(fmt.Sprintf("%s/%s/%s", test.name, f, network), func(t *testing.T) {
					if counts := s.counts(network, vip(f, test.n, 80), 25); !slices.Equal(counts, test.want) {
						t.Errorf("25 connections are spread %v, want %v", counts, test.want)
					}
				})
			}
		}
	}
}

// TestAClientWithAffinityMovesOnWhenItsEndpointGoes at once, and not when its time is over; then it stays again.
func TestAClientWithAffinityMovesOnWhenItsEndpointGoes(t *testing.T) {
	s, one, two := webStage(t)
	three := s.Pod(s.node1, "three", 8080)
	sticky := site.DualStack("web", 10, webPorts...)
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Write("web", sticky)
	for _, f := range lab.Families {
		for _, network := range []string{"tcp", "udp"} {
			s.Eventually("the Service has its affinity", func() error {
				vs, err := s.kernel.ipvs.GetService(virtualServer(network, vip(f, 10, 80)))
				if err == nil && vs.Flags&persistent == 0 {
					err = errors.New("it has none")
				}
				return err
			})
			s.served(s.client, network, vip(f, 10, 80), one)
		}
	}
	conns := s.standing()
	s.behind("web", endpoint{two, s.node2, ""}, endpoint{three, s.node1, ""})
	s.weighs("tcp", one, 0)
	s.weighs("udp", one, -1)
	for _, f := range lab.Families {
		for _, network := range []string{"tcp", "udp"} {
			if counts := s.counts(network, vip(f, 10, 80), 10); !slices.Equal(counts, []int{10}) {
				t.Errorf("%s %s: 10 connections are spread %v", f, network, counts)
			}
		}
	}
	for name, conn := range conns {
		if err := conn.Echo(t.Context(), "still there"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// kept is a standing connection to the Service of one scheduler.
type kept struct {
	*lab.Conn
	scheduler string
}

// keep opens connections to all Services from each of some addresses.
func (s *spread) keep(clients []lab.Addresses) (conns []kept) {
	s.t.Helper()
	for n, scheduler := range service.Schedulers {
		for _, f := range lab.Families {
			for _, c := range clients {
				conn, err := s.client.Connect(s.t.Context(), vip(f, 10+n, 80), lab.Reset(), lab.From(c.AddrPort(f, 0)))
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { _ = conn.Close() })
				conns = append(conns, kept{conn, scheduler})
			}
		}
	}
	return conns
}

// TestEveryClientIsServedWhileAnEndpointDrains by whatever scheduler: some of the kernel's choose an endpoint that takes no connections
// any more, and then refuse (sh and mh without their fallback, and dh, which keeps no connections therefore).
func TestEveryClientIsServedWhileAnEndpointDrains(t *testing.T) {
	var services []*corev1.Service
	for n, scheduler := range service.Schedulers {
		services = append(services, annotated(site.DualStack("by-"+scheduler, 10+n, webPorts...), service.AnnotationScheduler, scheduler))
	}
	s := spreadStage(t, services...)
	clients, err := s.AddAddresses(s.client, 12)
	if err != nil {
		t.Fatal(err)
	}
	conns := s.keep(clients)
	gone, left := s.pods[0].pod, s.pods[1:]
	for _, svc := range services {
		s.behind(svc.Name, left...)
	}
	for n, scheduler := range service.Schedulers {
		for _, f := range lab.Families {
			t.Run(fmt.Sprintf("%s/%s", scheduler, f), func(t *testing.T) {
				s.retired(vip(f, 10+n, 80), gone)
				for _, c := range clients {
					answer, err := s.client.Ask(t.Context(), "tcp", vip(f, 10+n, 80), lab.Reset(), lab.From(c.AddrPort(f, 0)))
					if err != nil || !isOneOf(answer.Server.Addr(), left[0].pod, left[1].pod) {
						t.Errorf("%s asks: %v, error %v", c.Address(f), answer.Server, err)
					}
				}
			})
		}
	}
	for _, c := range conns {
		if err := c.Echo(t.Context(), "still there"); err != nil && c.scheduler != "dh" {
			t.Errorf("%s: the standing connection to %s: %v", c.scheduler, c.Answer.Server, err)
		}
	}
}

// retired waits until a pod takes no new connections.
func (s *stage) retired(at netip.AddrPort, pod *lab.Host) {
	s.t.Helper()
	s.Eventually("the endpoint takes no new connections", func() error {
		weights, err := s.kernel.real("tcp", at)
		if err == nil && weights[pod.AddrPort(familyOf(at.Addr()), 8080)] != 0 {
			return fmt.Errorf("there are %v", weights)
		}
		return err
	})
}
