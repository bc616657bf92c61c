//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// TestAVirtualIPMayBeTheNodesOwnAddress and then the node's other ports are its own still.
func TestAVirtualIPMayBeTheNodesOwnAddress(t *testing.T) {
	s := newStage(t)
	here := s.Pod(s.node1, "here", 8080)
	s.Serve(s.node1, 2222)
	web := site.DualStack("web", 10, webPorts...)
	web.Spec.ExternalIPs = []string{s.node1.IPv4.String(), s.node1.IPv6.String()}
	s.Write("web", web)
	s.behind("web", endpoint{here, s.node1, ""})
	s.start()
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			for _, network := range []string{"tcp", "udp"} {
				s.served(from, network, s.node1.AddrPort(f, 80), here)
				s.served(from, network, s.node1.AddrPort(f, 2222), s.node1)
			}
		}
	}
	s.remove("web")
	for _, f := range lab.Families {
		s.Eventually("the node's port is closed again", func() error {
			if answer, err := s.Outside.Ask(t.Context(), "tcp", s.node1.AddrPort(f, 80)); err == nil {
				return errAnswered(answer)
			}
			return nil
		})
		s.served(s.Outside, "tcp", s.node1.AddrPort(f, 2222), s.node1)
	}
}

type errAnswered lab.Answer

func (e errAnswered) Error() string { return e.Server.String() + " answers" }

// TestALoadBalancerIPMayBeAPods and then the pod's other ports are its own still.
func TestALoadBalancerIPMayBeAPods(t *testing.T) {
	s := newStage(t)
	pod, there := s.Pod(s.node1, "pod", 8080), s.Pod(s.node2, "there", 8080)
	web := site.DualStack("web", 10, webPorts...)
	web.Spec.Type = corev1.ServiceTypeLoadBalancer
	for _, f := range lab.Families {
		web.Status.LoadBalancer.Ingress = append(web.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: pod.Address(f).String()})
	}
	s.Write("web", web)
	s.behind("web", endpoint{there, s.node2, ""})
	s.start()
	for _, f := range lab.Families {
		for _, from := range []*lab.Host{s.client, s.node1} {
			for _, network := range []string{"tcp", "udp"} {
				s.served(from, network, pod.AddrPort(f, 80), there)
				s.served(from, network, pod.AddrPort(f, 8080), pod)
			}
		}
	}
}

// TestAnEndpointMayBeTheNodeItself as those of pods in the host's network and of many API servers are: it gets what comes by any way in,
// and sees the client where it has to.
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

// tell asks ten times, and every time one of some hosts has to answer, each of them at least once.
func (s *stage) tell(from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) error {
	heard := map[netip.Addr]bool{}
	for range 10 {
		answer, err := from.Ask(s.t.Context(), network, to, lab.Reset())
		if err != nil {
			return err
		}
		if !isOneOf(answer.Server.Addr(), by...) {
			return fmt.Errorf("%s from %s: %s answers", to, from.Name, answer.Server)
		}
		heard[answer.Server.Addr()] = true
	}
	if len(heard) != len(by) {
		return fmt.Errorf("%s from %s: only %v answer", to, from.Name, heard)
	}
	return nil
}

// withoutModules keeps the kernel from loading modules. What it returns ends that; so does the test's end.
func withoutModules(t *testing.T) (end func()) {
	t.Helper()
	const file = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("\n"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		if err := os.WriteFile(file, was, 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}

// unload removes a module that another test may have needed.
func (s *stage) unload(module string) {
	s.t.Helper()
	s.Eventually("nobody needs "+module+" any more", func() error {
		if err := unix.DeleteModule(module, unix.O_NONBLOCK); !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	})
}

// TestASchedulerThatIsNotThereIsNamedAndReplaced by the node's own, whether nobody has heard of it or its module is missing.
func TestASchedulerThatIsNotThereIsNamedAndReplaced(t *testing.T) {
	s := newStage(t)
	here := s.Pod(s.node1, "here", 8080)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{here, s.node1, ""})
	s.start()
	s.unload("ip_vs_sed")
	withoutModules(t)
	s.Write("unknown", annotated(site.DualStack("unknown", 11, webPorts...), service.AnnotationScheduler, "nosuch"))
	s.Write("missing", annotated(site.DualStack("missing", 12, webPorts...), service.AnnotationScheduler, "sed"))
	s.Write("another", site.DualStack("another", 13, webPorts...))
	for _, name := range []string{"unknown", "missing", "another"} {
		s.behind(name, endpoint{here, s.node1, ""})
	}
	for _, f := range lab.Families {
		for n := 10; n <= 13; n++ {
			for _, network := range []string{"tcp", "udp"} {
				s.served(s.client, network, netip.AddrPortFrom(site.ClusterIP(f, n), 80), here)
			}
		}
	}
	s.Says(`\"nosuch\" is not one of rr, wrr`)
	s.Says("the node's kernel has no IPVS scheduler sed, and rr is used instead; load the kernel module ip_vs_sed on the node")
	if state := strings.Join(s.kernel.mustState(), "\n"); strings.Contains(state, ": sed") {
		t.Errorf("there is a sed:\n%s", state)
	}
}
