//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// kept is a standing connection to the Service of one scheduler.
type kept struct {
	*lab.Conn
	scheduler string
}

// keep opens connections to all Services from each of the clients.
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

// TestEveryClientIsServedWhileAnEndpointDrains with every scheduler: some of the kernel's choose an endpoint of weight 0 and then refuse the
// connection (sh and mh without their fallback, and dh, which is why dh does not drain).
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
