//go:build ipvs

package ipvs

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// listenedOn are ports on which the node itself listens on all addresses: one that the Services have too, and one that they do not.
var listenedOn = []uint16{80, 2222}

// balanced makes a Service with an external and a load-balancer IP, in both families.
func balanced(name string, n int, policy corev1.ServiceExternalTrafficPolicy) (svc *corev1.Service, ips []string) {
	digit := string(rune('0' + n%10))
	svc = site.DualStack(name, n, webPorts...)
	svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, policy
	svc.Spec.ExternalIPs = []string{"198.51.100." + digit, "2001:db8::" + digit}
	for _, ip := range []string{"203.0.113." + digit, "2001:db8:1::" + digit} {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		ips = append(ips, ip)
	}
	return svc, append(append(ips, svc.Spec.ExternalIPs...), svc.Spec.ClusterIPs...)
}

// listenerStage is a stage whose node listens on all addresses, with Services of every kind.
type listenerStage struct {
	*stage
	here, there *lab.Host
	services    map[string]*corev1.Service
	targets     map[lab.Family][]netip.AddrPort // all their addresses and one that no Service has, on all ports
}

func newListenerStage(t *testing.T) *listenerStage {
	t.Helper()
	s := &listenerStage{stage: newStage(t), services: map[string]*corev1.Service{}, targets: map[lab.Family][]netip.AddrPort{}}
	s.openOutside()
	for _, port := range listenedOn {
		s.Serve(s.node1, port)
	}
	s.here, s.there = s.Pod(s.node1, "here", 8080), s.Pod(s.node2, "there", 8080)
	unused := site.DualStack("unused", 99)
	ips := slices.Clone(unused.Spec.ClusterIPs)
	for n, name := range []string{"web", "local", "far", "empty"} {
		policy := corev1.ServiceExternalTrafficPolicyLocal
		if name == "web" || name == "empty" {
			policy = corev1.ServiceExternalTrafficPolicyCluster
		}
		svc, more := balanced(name, 10+n, policy)
		s.services[name], ips = svc, append(ips, more...)
	}
	for _, text := range ips {
		for _, port := range listenedOn {
			ip := netip.MustParseAddr(text)
			s.targets[familyOf(ip)] = append(s.targets[familyOf(ip)], netip.AddrPortFrom(ip, port))
		}
	}
	s.put()
	s.behind("web", endpoint{s.here, s.node1, ""}, endpoint{s.there, s.node2, ""})
	s.behind("local", endpoint{s.here, s.node1, ""})
	s.behind("far", endpoint{s.there, s.node2, ""})
	return s
}

// put writes the Services.
func (s *listenerStage) put() {
	s.t.Helper()
	for name, svc := range s.services {
		s.Write(name, svc)
	}
}

// TestTheNodesOwnListenerNeverAnswersOnAVirtualIP asks all the time while Services, endpoints and Fairlead come and go
// (kubernetes#72236).
func TestTheNodesOwnListenerNeverAnswersOnAVirtualIP(t *testing.T) {
	s := newListenerStage(t)
	w := s.watch(s.targets, s.here, s.there)
	steps := []struct {
		name   string
		do     func()
		serves bool // the Services have endpoints then
	}{
		{"before Fairlead starts", func() {}, false},
		{"it starts", func() { s.start() }, true},
		{"the Services are deleted", func() {
			for name := range s.services {
				s.remove(name)
			}
		}, false},
		{"they come back", s.put, true},
		{"the endpoints go", func() { s.behind("web"); s.behind("local"); s.behind("far") }, false},
		{"Fairlead is killed, and all changes while it is away", func() {
			s.Stop(syscall.SIGKILL)
			s.remove("far")
			s.behind("web", endpoint{s.there, s.node2, ""})
			s.behind("local", endpoint{s.here, s.node1, ""})
			s.start()
		}, true},
		{"it ends, and cleans up", func() {
			s.Stop(syscall.SIGTERM)
			if out, err := s.node1.Output(t.Context(), site.Program, "cleanup"); err != nil {
				t.Errorf("cleanup: %v\n%s", err, out)
			}
		}, false},
	}
	for _, step := range steps {
		step.do()
		if step.serves {
			w.answered()
		}
		w.asked(2)
		t.Logf("%s: until %s", step.name, time.Now().Format(time.TimeOnly))
	}
	for _, wrong := range w.end() {
		t.Error(wrong)
	}
	t.Logf("the pods have answered: %v", w.heard)
}
