package traffic

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// Stage is a Service with endpoints on two nodes, and every path to it through the first one: from a pod, from outside and from the node
// itself, in both families.
type Stage struct {
	// Client is a pod on the node under test, and Servers are those behind the Service.
	Client  *lab.Host
	Servers []*lab.Host
	Targets []Target
	// Service answers over TCP and UDP at the same ports. Its status is to be written too.
	Service *corev1.Service

	site *site.Site
}

// The stage's addresses and ports.
const (
	clusterIP         = 50
	port, nodePort    = 80, 30550
	serverPort        = 8080
	loadBalancerRange = "198.51.100.0/24"
	loadBalancerIPv6  = "2001:db8::/64"
)

var (
	loadBalancer = lab.Addresses{IPv4: netip.MustParseAddr("198.51.100.50"), IPv6: netip.MustParseAddr("2001:db8::50")}
	// sourceRanges allow all hosts of the lab.
	sourceRanges = []string{"172.30.0.0/24", "10.244.0.0/16", "198.51.100.50/32", "10.96.0.0/16",
		"fd00:30::/64", "fd00:10:244::/48", "2001:db8::50/128", "fd00:10:96::/112"}
)

// NewStage makes the pods, and routes from outside to the load balancer's address.
func NewStage(t testing.TB, s *site.Site) *Stage {
	t.Helper()
	stage := &Stage{site: s, Client: s.Pod(s.Nodes[0], "traffic-client", 9000)}
	for i, name := range []string{"traffic-1", "traffic-2", "traffic-3"} {
		stage.Servers = append(stage.Servers, s.Pod(s.Nodes[i%2], name, serverPort))
	}
	for _, r := range []string{loadBalancerRange, loadBalancerIPv6} {
		p := netip.MustParsePrefix(r)
		f := lab.IPv4
		if p.Addr().Is6() {
			f = lab.IPv6
		}
		if err := s.Outside.AddRoute(p, s.Nodes[0].Address(f)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ipv4/conf/all/accept_redirects", "ipv4/conf/eth0/accept_redirects", "ipv6/conf/eth0/accept_redirects"} {
		if err := s.Outside.SetSysctl(name, "0"); err != nil {
			t.Fatal(err)
		}
	}
	stage.Service = stage.service()
	stage.Targets = stage.targets()
	return stage
}

// DropForwarded makes the first node drop what it forwards by policy, but for what pods send, which a CNI plugin accepts.
func (s *Stage) DropForwarded(t testing.TB) {
	t.Helper()
	for i, podCIDR := range strings.Split(site.PodCIDRs, ",") {
		program := []string{"iptables-", "ip6tables-"}[i] + s.site.Variant
		for _, args := range [][]string{{"-P", "FORWARD", "DROP"}, {"-A", "FORWARD", "-s", podCIDR, "-j", "ACCEPT"}} {
			if _, err := s.site.Node().Output(t.Context(), program, append([]string{"-w"}, args...)...); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *Stage) service() *corev1.Service {
	svc := site.DualStack("traffic", clusterIP, "tcp:80=30550", "udp:80/UDP=30550")
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilyPolicy = &policy
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	// What an API server would fill in.
	cluster := corev1.ServiceInternalTrafficPolicyCluster
	svc.Spec.InternalTrafficPolicy, svc.Spec.ExternalTrafficPolicy = &cluster, corev1.ServiceExternalTrafficPolicyCluster
	svc.Spec.SessionAffinity = corev1.ServiceAffinityNone
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.LoadBalancerSourceRanges = sourceRanges
	for _, f := range lab.Families {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: loadBalancer.Address(f).String()})
	}
	return svc
}

// Objects are the Service and its slices.
func (s *Stage) Objects() []runtime.Object {
	objects := []runtime.Object{s.Service}
	for _, f := range lab.Families {
		var endpoints []string
		for i, pod := range s.Servers {
			endpoints = append(endpoints, site.At(f, pod, s.site.Nodes[i%2]))
		}
		slice := site.Slice(f, s.Service.Name, "0", endpoints...)
		slice.Ports = servicetest.Slice("", "", []string{"tcp:8080", "udp:8080/UDP"}).Ports
		objects = append(objects, slice)
	}
	return objects
}

func (s *Stage) targets() []Target {
	node := s.site.Nodes[0]
	var list []Target
	for _, f := range lab.Families {
		vip := netip.AddrPortFrom(site.ClusterIP(f, clusterIP), port)
		list = append(list,
			Target{Name: "pod to cluster IP", From: s.Client, To: vip},
			Target{Name: "node to cluster IP", From: node, To: vip},
			Target{Name: "outside to node port", From: s.site.Outside, To: node.AddrPort(f, nodePort)},
			Target{Name: "pod to node port", From: s.Client, To: node.AddrPort(f, nodePort)},
			Target{Name: "node to its node port", From: node, To: node.AddrPort(f, nodePort)},
			Target{Name: "outside to load balancer", From: s.site.Outside, To: loadBalancer.AddrPort(f, port)},
			Target{Name: "pod to load balancer", From: s.Client, To: loadBalancer.AddrPort(f, port)},
			Target{Name: "node to load balancer", From: node, To: loadBalancer.AddrPort(f, port)},
		)
	}
	return list
}

// Await waits until every path answers over both protocols.
func (s *Stage) Await() {
	for _, target := range s.Targets {
		for _, network := range []string{"tcp", "udp"} {
			s.site.Answers(target.From, network, target.To)
		}
	}
}
