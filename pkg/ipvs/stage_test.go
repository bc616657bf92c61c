package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// atlas has the addresses of the stage by name, so that a case reads the same in both families. Names that begin with "here" are pods of
// the node under test, those with "away" pods of another one.
var atlas = map[service.Family]map[string]string{
	service.IPv4: {
		"web": "10.96.0.1", "api": "10.96.0.2", "dns": "10.96.0.3", "ext": "192.0.2.1", "lb": "192.0.2.2", "node": "172.30.0.11", "node2": "172.30.0.22",
		"here1": "10.244.1.1", "here2": "10.244.1.2", "away1": "10.244.2.1", "away2": "10.244.2.2", "alien": "203.0.113.77",
		"office": "198.51.100.0", "branch": "203.0.113.0",
	},
	service.IPv6: {
		"web": "fd00:10:96::1", "api": "fd00:10:96::2", "dns": "fd00:10:96::3", "ext": "2001:db8::1", "lb": "2001:db8::2", "node": "fd00:30::11", "node2": "fd00:30::22",
		"here1": "fd00:10:244:1::1", "here2": "fd00:10:244:1::2", "away1": "fd00:10:244:2::1", "away2": "fd00:10:244:2::2", "alien": "2001:db8:9::77",
		"office": "2001:db8:6::", "branch": "2001:db8:9::",
	},
}

// stage is a node with one Backend on a kernel in memory.
type stage struct {
	t       *testing.T
	family  service.Family
	builder *service.Builder
	kernel  *fake
	options Options
	backend *Backend
	events  []string
}

// newStage is a node that has seen no object yet.
func newStage(t *testing.T, family service.Family) *stage {
	s := &stage{t: t, family: family, kernel: newFake(family)}
	pods := netip.MustParsePrefix("10.244.0.0/16")
	if family == service.IPv6 {
		pods = netip.MustParsePrefix("fd00:10:244::/48")
	}
	s.builder = service.NewBuilder(service.Options{Family: family, NodeName: servicetest.Node, Pods: service.LocalTraffic{Sources: pods}})
	s.builder.SetNodePorts(service.NodeAddresses{Listed: []netip.Addr{s.addr("node")}})
	s.options = Options{Family: family, MasqueradeBit: 14, MarkBit: 15, Scheduler: "rr", Drain: time.Minute, Events: func(name types.NamespacedName, reason, message string) {
		s.events = append(s.events, fmt.Sprintf("%s %s: %s", name.Name, reason, message))
	}}
	s.restart()
	s.kernel.watch = func(write string) {
		if err := s.kernel.led(); err != nil {
			t.Errorf("after %s: %v", s.named(write), err)
		}
	}
	return s
}

// forBoth runs a test on a stage of each family.
func forBoth(t *testing.T, test func(s *stage)) {
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) { test(newStage(t, f)) })
	}
}

// led says whether packets are led to where nobody answers. No real server is needed where new connections are refused before that.
func (f *fake) led() error {
	for id, at := range map[setID]func(key) key{setVirtual: func(k key) key { return k }, setInside: alias} {
		set := f.sets[definition(f.family, id).name]
		if set == nil {
			continue
		}
		for e := range set.entries {
			k := at(e.key)
			if _, is := f.routes[k.address.Addr()]; !is {
				return fmt.Errorf("packets are led to %s, which has no route", k)
			}
			s := f.servers[k]
			if s == nil {
				return fmt.Errorf("packets are led to %s, which is no virtual server", k)
			}
			if refused := f.has(setReject, k) || f.has(setDrop, k); len(s.real) == 0 && !refused {
				return fmt.Errorf("packets are led to %s, which has no real server", k)
			}
		}
	}
	return nil
}

// has reports whether a set has an entry for a frontend.
func (f *fake) has(id setID, k key) bool {
	set := f.sets[definition(f.family, id).name]
	if set == nil {
		return false
	}
	_, is := set.entries[entry{key: k}]
	return is
}

// restart forgets the Backend, as a restart of Fairlead does. The kernel stays as it is.
func (s *stage) restart() { s.backend = newBackend(s.options, s.kernel.kernel()) }

func (s *stage) addr(name string) netip.Addr {
	text, is := atlas[s.family][name]
	if !is {
		s.t.Fatalf("nobody is named %q", name)
	}
	return netip.MustParseAddr(text)
}

// span is the range of addresses that begins with a named one.
func (s *stage) span(name string) string {
	return fmt.Sprintf("%s/%d", s.addr(name), map[service.Family]int{service.IPv4: 24, service.IPv6: 64}[s.family])
}

// key is a frontend such as "web,tcp:80", and endpoint such as "here1:8080".
func (s *stage) key(text string) key {
	name, rest, _ := strings.Cut(text, ",")
	protocol, port, _ := strings.Cut(rest, ":")
	p, err := service.ParseProtocol(corev1.Protocol(strings.ToUpper(protocol)))
	must(s.t, err)
	return key{p, s.endpoint(name + ":" + port)}
}

func (s *stage) endpoint(text string) netip.AddrPort {
	name, port, _ := strings.Cut(text, ":")
	var n uint16
	_, err := fmt.Sscan(port, &n)
	must(s.t, err)
	return netip.AddrPortFrom(s.addr(name), n)
}

// named puts names in place of addresses; "ext~" is the alias of ext.
func (s *stage) named(text string) string {
	var pairs [][2]string
	for name, address := range atlas[s.family] {
		a := netip.AddrPortFrom(netip.MustParseAddr(address), 1)
		pairs = append(pairs, [2]string{alias(key{address: a}).address.Addr().String(), name + "~"}, [2]string{address, name})
	}
	// The longest first, as one may begin another.
	slices.SortFunc(pairs, func(x, y [2]string) int { return len(y[0]) - len(x[0]) })
	var flat []string
	for _, p := range pairs {
		flat = append(flat, p[0], p[1])
	}
	flat = append(flat, setPrefix(s.family), "", fmt.Sprintf("/%d", s.family.Bits()), "", s.span("office")[len(atlas[s.family]["office"]):], "/*")
	return strings.NewReplacer(flat...).Replace(text)
}

// plain is a Service whose cluster IP is the address of its name.
func (s *stage) plain(name string, ports ...string) *corev1.Service {
	return servicetest.Service(name, s.addr(name).String(), ports...)
}

// service makes or changes a Service.
func (s *stage) service(name string, ports []string, change ...func(*corev1.Service)) {
	svc := s.plain(name, ports...)
	for _, c := range change {
		c(svc)
	}
	s.builder.SetService(svc)
}

// slice makes or changes the EndpointSlice of a Service. Behind the name of an endpoint can stand what servicetest.Slice takes.
func (s *stage) slice(service string, ports []string, endpoints ...string) {
	if len(endpoints) == 0 {
		s.builder.DeleteSlice(servicetest.Namespace, service)
		return
	}
	var list []string
	for _, text := range endpoints {
		name, rest, _ := strings.Cut(text, " ")
		node := servicetest.OtherNode
		if strings.HasPrefix(name, "here") {
			node = servicetest.Node
		}
		list = append(list, strings.TrimSpace(s.addr(name).String()+"@"+node+" "+rest))
	}
	s.builder.SetSlice(servicetest.Slice(service, service, ports, list...))
}

// sync writes what has changed.
func (s *stage) sync() {
	s.t.Helper()
	table, dirty, _ := s.builder.Build()
	must(s.t, s.backend.Sync(s.t.Context(), table, dirty))
}

// resync writes whatever is not as it should be.
func (s *stage) resync() {
	s.t.Helper()
	must(s.t, s.resyncError())
}

func (s *stage) resyncError() error {
	table, _, _ := s.builder.Build()
	return s.backend.Sync(s.t.Context(), table, nil)
}

// take returns what has been written since the last call, by name.
func (s *stage) take() []string {
	list := s.kernel.take()
	for i := range list {
		list[i] = s.named(list[i])
	}
	return list
}

// state is what the kernel holds, by name.
func (s *stage) state() []string {
	var list []string
	for _, line := range s.kernel.state() {
		list = append(list, s.named(line))
	}
	slices.Sort(list)
	return list
}

// lines are those of a text, without blanks around them, sorted.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	slices.Sort(list)
	return list
}

// want compares what the kernel holds with a text.
func (s *stage) want(what, text string) {
	s.t.Helper()
	if diff := cmp.Diff(lines(text), s.state()); diff != "" {
		s.t.Errorf("%s: the kernel holds (-want +got):\n%s", what, diff)
	}
}

// wantWrites compares what has been written since the last look with a list, in any order.
func (s *stage) wantWrites(what, text string) {
	s.t.Helper()
	got := s.take()
	slices.Sort(got)
	if diff := cmp.Diff(lines(text), got); diff != "" {
		s.t.Errorf("%s: written (-want +got):\n%s", what, diff)
	}
}

// real is a real server in the kernel.
func (s *stage) real(server, endpoint string) realServer {
	s.t.Helper()
	at := s.kernel.servers[s.key(server)]
	if at == nil {
		s.t.Fatalf("there is no virtual server %s", server)
	}
	r, is := at.real[s.endpoint(endpoint)]
	if !is {
		s.t.Fatalf("virtual server %s has no real server %s", server, endpoint)
	}
	return r
}

// connect gives a real server connections.
func (s *stage) connect(server, endpoint string, connections int) {
	s.t.Helper()
	r := s.real(server, endpoint)
	r.connections, r.established = connections, 0
	if s.key(server).protocol != service.UDP {
		r.established = connections
	}
	s.kernel.servers[s.key(server)].real[r.address] = r
}

// Changes to a Service, for stage.service.

func external(s *stage, names ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		for _, name := range names {
			svc.Spec.ExternalIPs = append(svc.Spec.ExternalIPs, s.addr(name).String())
		}
	}
}

func balancer(s *stage, ranges ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: s.addr("lb").String()}}
		for _, name := range ranges {
			svc.Spec.LoadBalancerSourceRanges = append(svc.Spec.LoadBalancerSourceRanges, s.span(name))
		}
	}
}

func externalLocal(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func internalLocal(svc *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	svc.Spec.InternalTrafficPolicy = &local
}

func annotated(pairs ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Annotations = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			svc.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func affinity(seconds int32) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}
