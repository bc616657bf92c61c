//go:build ipvs && soak

package ipvs

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestALoadBalancerIPMayBeAPods, and the pod's other ports still answer there.
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
