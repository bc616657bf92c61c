package servicetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// World makes random changes to a small cluster. Names, addresses and ports come from small sets, so that Services clash,
// pods are shared, and what goes comes back. Equal seeds make equal worlds.
type World struct {
	rand   *rand.Rand
	family service.Family
	clock  int64
}

// NewWorld returns a world of one family.
func NewWorld(seed uint64, family service.Family) *World {
	return &World{rand: rand.New(rand.NewPCG(seed, uint64(family))), family: family}
}

// PodRange is the range of the world's pods.
func (w *World) PodRange() netip.Prefix {
	if w.family == service.IPv4 {
		return netip.MustParsePrefix("10.244.0.0/16")
	}
	return netip.MustParsePrefix("fd00:10:244::/48")
}

// Pods is a random way to tell pods, or none.
func (w *World) Pods() service.LocalTraffic {
	return []service.LocalTraffic{{}, {Sources: w.PodRange()}, {Interface: PodInterface}, {InterfacePrefix: PodInterface[:4]}}[w.rand.IntN(4)]
}

const (
	worldServices = 12
	worldPods     = 300
)

// pod is one of the pods; about half of them are on the node under test.
func (w *World) pod(n int) string {
	if w.family == service.IPv4 {
		return fmt.Sprintf("10.244.%d.%d", n%2, n/2+1)
	}
	return fmt.Sprintf("fd00:10:244:%x::%x", n%2, n/2+1)
}

func (w *World) clusterIP(n int) string {
	if w.family == service.IPv4 {
		return fmt.Sprintf("10.96.%d.%d", n%3, n/3+1)
	}
	return fmt.Sprintf("fd00:10:96::%x:%x", n%3, n/3+1)
}

// external addresses are few, and the last two are the node's own.
func (w *World) external(n int) string {
	v4 := []string{"192.0.2.1", "192.0.2.2", "198.51.100.7", "172.30.0.11", "172.30.0.111"}
	v6 := []string{"2001:db8::1", "2001:db8::2", "2001:db8:1::7", "fd00:30::11", "fd00:30::111"}
	if w.family == service.IPv4 {
		return v4[n]
	}
	return v6[n]
}

// NodeAddress reports whether an address is the node's own.
func (w *World) NodeAddress(addr netip.Addr) bool {
	text := addr.String()
	return text == w.external(3) || text == w.external(4) || addr.IsLoopback()
}

// Change makes one random change.
func (w *World) Change(b *service.Builder) {
	n := w.rand.IntN(worldServices)
	name := fmt.Sprintf("service-%d", n)
	if w.rand.IntN(20) == 0 {
		w.changeNode(b)
	}
	switch w.rand.IntN(10) {
	case 0:
		b.DeleteService(Namespace, name)
	case 1:
		b.DeleteSlice(Namespace, fmt.Sprintf("%s-%d", name, w.rand.IntN(2)))
	case 2, 3, 4:
		b.SetService(w.service(n, name))
	default:
		w.setSlice(b, name)
	}
}

func (w *World) service(n int, name string) *corev1.Service {
	svc := Service(name, w.clusterIP(n))
	w.clock++
	svc.CreationTimestamp = metav1.Time{Time: time.Unix(w.clock/4, 0)}
	for i, p := range w.ports() {
		port := Service("", "", p).Spec.Ports[0]
		if w.rand.IntN(3) == 0 {
			port.NodePort = 30000 + int32(w.rand.IntN(2000)*(i+1)%40)
		}
		svc.Spec.Ports = append(svc.Spec.Ports, port)
	}
	for range w.rand.IntN(3) {
		svc.Spec.ExternalIPs = append(svc.Spec.ExternalIPs, w.external(w.rand.IntN(5)))
	}
	if w.rand.IntN(3) == 0 {
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: w.external(w.rand.IntN(5))}}
	}
	w.policies(svc)
	w.spread(svc)
	return svc
}

// spread gives a Service annotations about how its connections are spread now and then, some of them nonsense.
func (w *World) spread(svc *corev1.Service) {
	if w.rand.IntN(4) != 0 {
		return
	}
	schedulers := []string{"rr", "wrr", "mh", "sh", "", "fastest"}
	flags := []string{"mh-port", "sh-fallback,sh-port", "flag-1", "turbo"}
	weights := []string{"node/" + Node + "=5,*=2", "zone/here=3", "node/" + Node + "=1, node/" + OtherNode + "=9", w.pod(3) + "=70", "zone/here=0,*=65536,heavy"}
	svc.Annotations = map[string]string{
		service.AnnotationScheduler: schedulers[w.rand.IntN(len(schedulers))],
		service.AnnotationWeights:   weights[w.rand.IntN(len(weights))],
	}
	if w.rand.IntN(2) == 0 {
		svc.Annotations[service.AnnotationSchedulerFlags] = flags[w.rand.IntN(len(flags))]
	}
}

// policies gives a Service some of everything else that the API has.
func (w *World) policies(svc *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	if w.rand.IntN(4) == 0 {
		svc.Spec.InternalTrafficPolicy = &local
	}
	if w.rand.IntN(3) == 0 {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		svc.Spec.HealthCheckNodePort = 32000 + int32(w.rand.IntN(5))
	}
	if w.rand.IntN(4) == 0 {
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if w.rand.IntN(3) == 0 {
		all := []string{" 203.0.113.0/24", "2001:db8:9::/64 ", w.external(3) + "/32", w.PodRange().String(), "0.0.0.0/0", "nonsense"}
		first := w.rand.IntN(len(all))
		svc.Spec.LoadBalancerSourceRanges = all[first : first+1+w.rand.IntN(min(2, len(all)-first))]
	}
}

// changeNode changes what decides about traffic of the node itself.
func (w *World) changeNode(b *service.Builder) {
	b.SetNode(service.OwnNode{
		Zone:      []string{"", "here", "there"}[w.rand.IntN(3)],
		Addresses: []netip.Addr{netip.MustParseAddr(w.external(3 + w.rand.IntN(2)))},
	})
	choices := []service.NodeAddresses{
		{All: true}, {All: true, Loopback: true}, {}, {Loopback: true},
		{Listed: []netip.Addr{netip.MustParseAddr(w.external(3))}},
	}
	b.SetNodePorts(choices[w.rand.IntN(len(choices))])
}

// ports is a few ports, and now and then very many: more than one chain of a dispatch tree lists.
func (w *World) ports() []string {
	if w.rand.IntN(12) == 0 {
		var many []string
		for i := range 40 {
			many = append(many, fmt.Sprintf("p%d:%d", i, 7000+i*37))
		}
		return many
	}
	// The last one is a node port of others, which matters where the virtual IP is the node's own address.
	all := []string{"http:80", "https:443", "dns:53/UDP", "dns-tcp:53", "sig:2905/SCTP", "high:30003"}
	first := w.rand.IntN(len(all))
	return all[first : first+1+w.rand.IntN(len(all)-first)]
}

func (w *World) setSlice(b *service.Builder, name string) {
	var endpoints []string
	for range w.endpointCount() {
		n := w.rand.IntN(worldPods)
		text := w.pod(n) + []string{"@" + Node, "@" + OtherNode, ""}[n%3]
		if n%4 != 0 {
			text += " zone/" + []string{"here", "there"}[n%2]
		}
		if w.rand.IntN(8) == 0 {
			text += []string{" !ready", " !ready terminating", " !ready !serving terminating"}[w.rand.IntN(3)]
		}
		endpoints = append(endpoints, text)
	}
	slice := Slice(name, fmt.Sprintf("%s-%d", name, w.rand.IntN(2)), append(w.ports(), "http:8080"), endpoints...)
	if len(endpoints) == 0 && w.family == service.IPv6 {
		slice.AddressType = "IPv6"
	}
	w.hint(slice)
	b.SetSlice(slice)
}

// hint gives the endpoints of a slice hints for zones and nodes, now and then with one missing.
func (w *World) hint(slice *discoveryv1.EndpointSlice) {
	zones, nodes := w.rand.IntN(3) == 0, w.rand.IntN(6) == 0
	for i := range slice.Endpoints {
		hints := &discoveryv1.EndpointHints{}
		if zones && w.rand.IntN(20) != 0 {
			hints.ForZones = []discoveryv1.ForZone{{Name: []string{"here", "there"}[w.rand.IntN(2)]}}
		}
		if nodes && w.rand.IntN(20) != 0 {
			hints.ForNodes = []discoveryv1.ForNode{{Name: []string{Node, OtherNode}[w.rand.IntN(2)]}}
		}
		slice.Endpoints[i].Hints = hints
	}
}

func (w *World) endpointCount() int {
	switch w.rand.IntN(10) {
	case 0:
		return 0
	case 1:
		return 30 + w.rand.IntN(150)
	default:
		return 1 + w.rand.IntN(6)
	}
}

// Packet is a random packet: mostly to somewhere that a Service might answer.
func (w *World) Packet(t *service.Table) service.Packet {
	p := service.Packet{Protocol: service.Protocols[w.rand.IntN(3)], Source: w.source()}
	destination, port := w.external(w.rand.IntN(5)), uint16(30000+w.rand.IntN(40))
	if len(t.Ports) > 0 && w.rand.IntN(8) != 0 {
		to := t.Ports[w.rand.IntN(len(t.Ports))]
		p.Protocol = to.Name.Protocol
		if len(to.Frontends) > 0 {
			f := to.Frontends[w.rand.IntN(len(to.Frontends))]
			if port = f.Address.Port(); f.Kind != service.NodePort {
				destination = f.Address.Addr().String()
			}
		}
		// Often a pod that may reach itself.
		if len(to.Endpoints) > 0 && w.rand.IntN(3) == 0 {
			p.Source = to.Endpoints[w.rand.IntN(len(to.Endpoints))].Address.Addr()
		}
	}
	if w.rand.IntN(16) == 0 {
		destination = map[service.Family]string{service.IPv4: "127.0.0.1", service.IPv6: "::1"}[w.family]
	}
	p.Destination = netip.AddrPortFrom(netip.MustParseAddr(destination), port)
	p.ToNode, p.FromNode = w.NodeAddress(p.Destination.Addr()), w.NodeAddress(p.Source)
	if !p.FromNode {
		p.Interface = []string{PodInterface, "eth0"}[w.rand.IntN(2)]
	} else if p.ToNode && w.rand.IntN(2) == 0 {
		p.Source = p.Destination.Addr()
	}
	return p
}

// PodInterface is what packets of pods come in by.
const PodInterface = "veth0"

func (w *World) source() netip.Addr {
	switch w.rand.IntN(3) {
	case 0:
		return netip.MustParseAddr(w.external(3)) // the node itself
	case 1:
		return netip.MustParseAddr(map[service.Family]string{service.IPv4: "203.0.113.9", service.IPv6: "2001:db8:9::9"}[w.family])
	default:
		return netip.MustParseAddr(w.pod(w.rand.IntN(worldPods)))
	}
}
