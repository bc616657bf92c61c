//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// The Services that change, and the first one's number as a cluster IP.
const busyServices, firstBusy = 10, 30

// busy changes Services by their manifests, at random.
type busy struct {
	s      *stage
	random *rand.Rand
	pods   []endpoint
}

func newBusy(s *stage) *busy {
	s.t.Helper()
	seed := rand.Uint64()
	s.t.Logf("seed %d", seed)
	b := &busy{s: s, random: rand.New(rand.NewPCG(seed, 1))}
	for i, node := range []*lab.Host{s.node1, s.node2} {
		pod := s.Pod(node, fmt.Sprintf("busy-%d", i), 8080)
		addresses, err := s.AddAddresses(pod, 12)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range addresses {
			b.pods = append(b.pods, endpoint{&lab.Host{Name: pod.Name, Addresses: a}, node, ""})
		}
	}
	return b
}

// change makes so many changes, some at once and some after a while.
func (b *busy) change(times int) {
	b.s.t.Helper()
	for range times {
		n := b.random.IntN(busyServices)
		name := fmt.Sprintf("busy-%d", n)
		switch b.random.IntN(8) {
		case 0:
			b.s.remove(name)
		case 1:
			b.s.remove("behind-" + name)
		case 2, 3:
			b.s.Write(name, b.service(n, name))
		default:
			b.s.Write("behind-"+name, b.slices(name)...)
		}
		time.Sleep(time.Duration(b.random.IntN(80)) * time.Millisecond)
	}
}

// some is true in one of n cases.
func (b *busy) some(n int) bool { return b.random.IntN(n) == 0 }

// one of some strings.
func (b *busy) one(of ...string) string { return of[b.random.IntN(len(of))] }

func (b *busy) service(n int, name string) *corev1.Service {
	ports := []string{"tcp:80", "tls:443", "udp:53/UDP", "dns:53"}
	if b.some(2) {
		for i := range ports {
			ports[i] += fmt.Sprintf("=%d", 31000+10*n+i)
		}
	}
	first := b.random.IntN(len(ports))
	svc := site.DualStack(name, firstBusy+n, ports[first:]...)
	if b.some(3) { // two Services may want the same
		svc.Spec.ExternalIPs = []string{b.one("198.51.100.31", "198.51.100.32"), b.one("2001:db8::31", "2001:db8::32")}
	}
	local := corev1.ServiceInternalTrafficPolicyLocal
	if b.some(5) {
		svc.Spec.InternalTrafficPolicy = &local
	}
	if b.some(3) {
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if b.some(2) {
		b.balance(n, svc)
	}
	if b.some(3) {
		annotated(svc, service.AnnotationScheduler, b.one("rr", "wrr", "mh", "sh", "lc", "nosuch"))
		annotated(svc, service.AnnotationWeights, b.one("node/node1=3, *=1", "*=5", "node/node2=9"))
	}
	return svc
}

// balance makes a Service one with a load balancer.
func (b *busy) balance(n int, svc *corev1.Service) {
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	for _, ip := range []string{fmt.Sprintf("203.0.113.%d", 100+n), fmt.Sprintf("2001:db8:1::%d", 100+n)} {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	if b.some(2) {
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		svc.Spec.HealthCheckNodePort = int32(32000 + n)
	}
	if b.some(3) {
		svc.Spec.LoadBalancerSourceRanges = []string{b.one("172.30.0.0/24", "0.0.0.0/0"), b.one("fd00:30::/64", "fd00:10:244::/48")}
	}
}

func (b *busy) slices(name string) []runtime.Object {
	var objects []runtime.Object
	for _, f := range lab.Families {
		var endpoints []string
		for range b.random.IntN(7) {
			e := b.pods[b.random.IntN(len(b.pods))]
			endpoints = append(endpoints, site.At(f, e.pod, e.node)+b.one("", "", "", " !ready", " !ready terminating", " !ready !serving terminating"))
		}
		slice := site.Slice(f, name, "0", endpoints...)
		slice.Ports = servicetest.Slice("", "", []string{"tcp:8080", "tls:8080", "udp:8080/UDP", "dns:8080"}).Ports
		objects = append(objects, slice)
	}
	return objects
}
