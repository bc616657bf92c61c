package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// Node is the node that all rules are made for.
const Node = servicetest.Node

// Pods are the addresses of all pods, the lab's among them. A hundred thousand need more than the usual /16.
var Pods = netip.MustParsePrefix("10.240.0.0/12")

// podsPerNode is about what kubelet admits. In a cluster of more than mostNodes there are more on each.
const (
	podsPerNode = 100
	mostNodes   = 2048
)

// Service is one Service of a made-up cluster, with one port.
type Service struct {
	Name      string
	Address   netip.AddrPort
	Endpoints []Endpoint
}

// Endpoint is a pod behind a Service.
type Endpoint struct {
	Address netip.AddrPort
	Node    string
}

// Cluster is a made-up cluster, sorted by cluster IP. Both kinds of rules are made out of it.
type Cluster []Service

// NewCluster makes up so many Services with so many endpoints each, always the same ones. Each endpoint is a pod of its own.
func NewCluster(services, endpoints int) Cluster {
	c := make(Cluster, services)
	nodes := min(mostNodes, max(2, services*endpoints/podsPerNode))
	for i, ip := range clusterIPs(services) {
		c[i] = Service{Name: fmt.Sprintf("service-%05d", i), Address: netip.AddrPortFrom(ip, 80)}
		for j := range endpoints {
			c[i].Endpoints = append(c[i].Endpoints, pod(i*endpoints+j, nodes))
		}
	}
	return c
}

// clusterIPs draws addresses as the API server does: at random, from the range that kubeadm sets.
func clusterIPs(n int) []netip.Addr {
	draw := rand.New(rand.NewPCG(1, 2))
	drawn := map[netip.Addr]bool{}
	for len(drawn) < n {
		v := draw.Uint32N(1 << 20)
		drawn[netip.AddrFrom4([4]byte{10, 96 | byte(v>>16), byte(v >> 8), byte(v)})] = true
	}
	list := make([]netip.Addr, 0, n)
	for ip := range drawn {
		list = append(list, ip)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// pod is the n-th pod of a cluster. Pods are dealt out to the nodes in turn, and each node has a /24 for its own.
func pod(n, nodes int) Endpoint {
	node := n % nodes
	address := netip.AddrFrom4([4]byte{10, 248 | byte(node>>8), byte(node), byte(2 + n/nodes)})
	return Endpoint{netip.AddrPortFrom(address, 8080), fmt.Sprintf("node-%d", node)}
}

// Replace gives a service the n-th spare pod, on another node, in place of its last one.
func (s *Service) Replace(n int) {
	s.Endpoints = slices.Clone(s.Endpoints)
	address := netip.AddrFrom4([4]byte{10, 241, byte(n >> 8), byte(n)})
	s.Endpoints[len(s.Endpoints)-1] = Endpoint{netip.AddrPortFrom(address, 8080), servicetest.OtherNode}
}

// Objects are the service as API objects.
func (s *Service) Objects() (*corev1.Service, *discoveryv1.EndpointSlice) {
	endpoints := make([]string, len(s.Endpoints))
	for i, e := range s.Endpoints {
		endpoints[i] = e.Address.Addr().String() + "@" + e.Node
	}
	return servicetest.Service(s.Name, s.Address.Addr().String(), "80"),
		servicetest.Slice(s.Name, s.Name+"-slice", []string{"8080"}, endpoints...)
}

// Builder returns a builder that has seen the cluster.
func (c Cluster) Builder() *service.Builder {
	b := service.NewBuilder(service.Options{Family: service.IPv4, NodeName: Node, Pods: service.LocalTraffic{Sources: Pods}})
	for i := range c {
		svc, slice := c[i].Objects()
		b.SetService(svc)
		b.SetSlice(slice)
	}
	return b
}

func (c Cluster) endpoints() int {
	n := 0
	for _, s := range c {
		n += len(s.Endpoints)
	}
	return n
}
