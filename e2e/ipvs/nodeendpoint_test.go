//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestAnEndpointMayBeTheNodeItself like those of host-network pods and of many API servers: it is reached in every way, and sees the
// client's address where the traffic policy is local.
func TestAnEndpointMayBeTheNodeItself(t *testing.T) {
	s := newStage(t)
	s.openOutside()
	s.Serve(s.node1, 8080)
	s.Serve(s.node2, 8080)
	web, _ := balanced("web", 10, corev1.ServiceExternalTrafficPolicyCluster)
	local, _ := balanced("local", 11, corev1.ServiceExternalTrafficPolicyLocal)
	for _, svc := range []*corev1.Service{web, local} {
		for i := range svc.Spec.Ports {
			svc.Spec.Ports[i].NodePort = 30080
			if svc == local {
				svc.Spec.Ports[i].NodePort = 30081
			}
		}
		s.Write(svc.Name, svc)
		s.behind(svc.Name, endpoint{s.node1, s.node1, ""}, endpoint{s.node2, s.node2, ""})
	}
	s.start()
	for _, f := range lab.Families {
		both := []*lab.Host{s.node1, s.node2}
		lb := netip.AddrPortFrom(netip.MustParseAddr(map[lab.Family]string{lab.IPv4: "203.0.113.1", lab.IPv6: "2001:db8:1::1"}[f]), 80)
		ways := []struct {
			name    string
			to      netip.AddrPort
			outside []*lab.Host // who answers outsiders
		}{
			{"a cluster IP", vip(f, 10, 80), both},
			{"a node port", s.node1.AddrPort(f, 30080), both},
			{"a local node port", s.node1.AddrPort(f, 30081), both[:1]},
			{"a local load-balancer IP", lb, both[:1]},
		}
		for _, way := range ways {
			for _, network := range []string{"tcp", "udp"} {
				t.Run(fmt.Sprintf("%s/%s/%s", way.name, f, network), func(t *testing.T) {
					for _, from := range s.askers() {
						servers := both
						if from == s.Outside {
							servers = way.outside
						}
						if err := s.tell(from, network, way.to, servers...); err != nil {
							t.Error(err)
						}
					}
					answer, err := s.Outside.Ask(t.Context(), network, way.to)
					if len(way.outside) == 1 && (err != nil || answer.Client.Addr() != s.Outside.Address(f)) {
						t.Errorf("the outsider is seen as %s, error %v", answer.Client, err)
					}
				})
			}
		}
	}
}

// TestTheNodeSeesItselfAsItself where it is an endpoint without a node name, and so may be a pod that connects to itself: such connections
// are masqueraded, and the node's direct connections must not be.
func TestTheNodeSeesItselfAsItself(t *testing.T) {
	s := newStage(t)
	s.Serve(s.node1, 8080)
	s.Serve(s.node1, 2222)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	for _, f := range lab.Families {
		s.Write("behind-"+f.String(), servicetest.Slice("web", "web-"+strings.ToLower(f.String()), podPorts, s.node1.Address(f).String()))
	}
	s.start()
	for _, f := range lab.Families {
		s.Eventually("the node is in the set of endpoints that may connect to themselves", func() error {
			things, err := s.kernel.things()
			if err != nil {
				return err
			}
			for _, line := range things {
				if strings.HasPrefix(line, fmt.Sprintf("set FLV%d-HAIRPIN: %s/", f, s.node1.Address(f))) {
					return nil
				}
			}
			return fmt.Errorf("there are:\n%s", strings.Join(things, "\n"))
		})
		for _, network := range []string{"tcp", "udp"} {
			s.served(s.client, network, vip(f, 10, 80), s.node1)
			s.served(s.node1, network, vip(f, 10, 80), s.node1)
			for _, to := range []netip.AddrPort{s.node1.AddrPort(f, 2222), s.node1.AddrPort(f, 8080)} {
				for range 5 {
					from := s.node1.AddrPort(f, s.nextPort())
					answer, err := s.node1.Ask(t.Context(), network, to, lab.Reset(), lab.From(from))
					if err != nil || answer.Client != from {
						t.Errorf("%s from %s to %s: the listener sees %s, error %v", network, from, to, answer.Client, err)
					}
				}
			}
		}
	}
}
