package service_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

var pods = LocalTraffic{Sources: netip.MustParsePrefix("10.244.0.0/16")}

// route asks a Table about a packet written as "source > destination:port/protocol", with "node:" before a destination that
// is one of the node's own addresses. The answer is the action, and for each destination its address, with "+m" where the
// source is rewritten.
func route(t *testing.T, table *Table, packet string) string {
	t.Helper()
	from, rest, _ := strings.Cut(packet, " > ")
	to, protocol, _ := strings.Cut(rest, "/")
	p := Packet{Source: netip.MustParseAddr(from), Protocol: TCP}
	switch protocol {
	case "udp":
		p.Protocol = UDP
	case "sctp":
		p.Protocol = SCTP
	}
	to, p.ToNode = strings.CutPrefix(to, "node:")
	p.FromNode = p.Source.IsLoopback()
	p.Destination = netip.MustParseAddrPort(to)
	v := table.Route(p)
	answer := v.Action.String()
	for _, d := range v.Destinations {
		answer += " " + d.Endpoint.String()
		if d.Masquerade {
			answer += "+m"
		}
	}
	return answer
}

func with(svc *corev1.Service, change func(*corev1.Service)) *corev1.Service {
	change(svc)
	return svc
}

func externalIPs(ips ...string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.ExternalIPs = ips }
}

func TestRoute(t *testing.T) {
	service := servicetest.Service
	slice := servicetest.Slice
	web := service("web", "10.96.0.1", "http:80=30080", "dns:53/UDP", "sig:90/SCTP")
	webSlice := slice("web", "web-1", []string{"http:8080", "dns:5353/UDP", "sig:91/SCTP"}, "10.244.1.1@node-1", "10.244.2.1@node-2")
	proxy, vip := corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP
	tests := []struct {
		name    string
		options func(*Options)
		objects []any
		packets map[string]string
	}{
		{
			name:    "a cluster IP answers on its ports alone, by protocol",
			objects: []any{web, webSlice},
			packets: map[string]string{
				"10.244.2.9 > 10.96.0.1:80":      "forward 10.244.1.1:8080 10.244.2.1:8080",
				"10.244.2.9 > 10.96.0.1:53/udp":  "forward 10.244.1.1:5353 10.244.2.1:5353",
				"10.244.2.9 > 10.96.0.1:90/sctp": "forward 10.244.1.1:91 10.244.2.1:91",
				"10.244.2.9 > 10.96.0.1:80/udp":  "pass",
				"10.244.2.9 > 10.96.0.1:81":      "pass",
				"10.244.2.9 > 10.96.0.2:80":      "pass",
			},
		},
		{
			name:    "a client from outside the pod range is masqueraded, and a pod that reaches itself",
			objects: []any{web, webSlice},
			packets: map[string]string{
				"192.0.2.9 > 10.96.0.1:80":  "forward 10.244.1.1:8080+m 10.244.2.1:8080+m",
				"10.244.1.1 > 10.96.0.1:80": "forward 10.244.1.1:8080+m 10.244.2.1:8080",
			},
		},
		{
			name:    "without a pod range nobody is masqueraded but a pod that reaches itself",
			options: func(o *Options) { o.Pods = LocalTraffic{} },
			objects: []any{web, webSlice},
			packets: map[string]string{
				"192.0.2.9 > 10.96.0.1:80":  "forward 10.244.1.1:8080 10.244.2.1:8080",
				"10.244.1.1 > 10.96.0.1:80": "forward 10.244.1.1:8080+m 10.244.2.1:8080",
			},
		},
		{
			name:    "masquerade-all rewrites pods too",
			options: func(o *Options) { o.MasqueradeAll = true },
			objects: []any{web, webSlice},
			packets: map[string]string{"10.244.2.9 > 10.96.0.1:80": "forward 10.244.1.1:8080+m 10.244.2.1:8080+m"},
		},
		{
			name:    "a node port answers on every address of the node but loopback, and masquerades",
			objects: []any{web, webSlice},
			packets: map[string]string{
				"192.0.2.9 > node:172.30.0.11:30080": "forward 10.244.1.1:8080+m 10.244.2.1:8080+m",
				"192.0.2.9 > 172.30.0.99:30080":      "pass",
				"127.0.0.1 > node:127.0.0.1:30080":   "pass",
			},
		},
		{
			name:    "no endpoints means refused, on every way in",
			objects: []any{with(service("web", "10.96.0.1", "http:80=30080"), externalIPs("192.0.2.1"))},
			packets: map[string]string{
				"10.244.2.9 > 10.96.0.1:80":          "reject",
				"10.244.2.9 > 192.0.2.1:80":          "reject",
				"192.0.2.9 > node:172.30.0.11:30080": "reject",
			},
		},
		{
			name: "external and load-balancer IPs answer, but not behind a proxying balancer or a host name",
			objects: []any{with(service("web", "10.96.0.1", "80"), func(s *corev1.Service) {
				s.Spec.ExternalIPs = []string{"192.0.2.1"}
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
					{IP: "192.0.2.2"}, {IP: "192.0.2.3", IPMode: &vip}, {IP: "192.0.2.4", IPMode: &proxy}, {Hostname: "lb.example.com"},
				}
			}), slice("web", "web-1", []string{"8080"}, "10.244.1.1")},
			packets: map[string]string{
				"10.244.2.9 > 192.0.2.1:80": "forward 10.244.1.1:8080+m",
				"10.244.2.9 > 192.0.2.2:80": "forward 10.244.1.1:8080+m",
				"10.244.2.9 > 192.0.2.3:80": "forward 10.244.1.1:8080+m",
				"10.244.2.9 > 192.0.2.4:80": "pass",
			},
		},
		{
			name: "a Service's address goes before a node port, with and without endpoints",
			objects: []any{
				with(service("vip", "10.96.0.1", "30080"), externalIPs("172.30.0.11")),
				service("port", "10.96.0.2", "80=30080"), slice("port", "port-1", []string{"8080"}, "10.244.1.1"),
			},
			packets: map[string]string{
				"192.0.2.9 > node:172.30.0.11:30080":  "reject",
				"192.0.2.9 > node:172.30.0.111:30080": "forward 10.244.1.1:8080+m",
			},
		},
		{
			name: "an endpoint counts unless it says that it is not ready, and once however often it is listed",
			objects: []any{
				service("web", "10.96.0.1", "80"),
				slice("web", "web-1", []string{"8080"}, "10.244.1.1", "10.244.1.2 !ready", "10.244.1.3 !ready terminating", "10.244.1.4 !serving"),
				slice("web", "web-2", []string{"8080"}, "10.244.1.1", "10.244.1.1"),
			},
			packets: map[string]string{"10.244.2.9 > 10.96.0.1:80": "forward 10.244.1.1:8080 10.244.1.4:8080"},
		},
		{
			name: "a pod address used again counts by its new pod, whichever slice comes first",
			objects: []any{
				service("web", "10.96.0.1", "80"),
				slice("web", "web-1", []string{"8080"}, "10.244.1.1 !ready terminating", "10.244.1.2"),
				slice("web", "web-2", []string{"8080"}, "10.244.1.1", "10.244.1.2 !ready terminating"),
			},
			packets: map[string]string{"10.244.2.9 > 10.96.0.1:80": "forward 10.244.1.1:8080 10.244.1.2:8080"},
		},
		{
			name: "a slice port without a number, and a slice of no Service, give nothing",
			objects: []any{
				service("web", "10.96.0.1", "80"),
				func() *discoveryv1.EndpointSlice {
					s := slice("web", "web-1", []string{"8080"}, "10.244.1.1")
					s.Ports[0].Port = nil
					return s
				}(),
				func() *discoveryv1.EndpointSlice {
					s := slice("web", "web-2", []string{"8080"}, "10.244.1.1")
					s.Labels = nil
					return s
				}(),
			},
			packets: map[string]string{"10.244.2.9 > 10.96.0.1:80": "reject"},
		},
		{
			name: "what another proxy serves, and what has no virtual IP, is left alone",
			objects: []any{
				with(service("other", "10.96.0.1", "80"), func(s *corev1.Service) { s.Labels = map[string]string{LabelProxyName: ""} }),
				with(service("name", "10.96.0.2", "80"), func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }),
				service("headless", "None", "80"),
			},
			packets: map[string]string{"10.244.2.9 > 10.96.0.1:80": "pass", "10.244.2.9 > 10.96.0.2:80": "pass"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options := Options{Family: IPv4, NodeName: servicetest.Node, Pods: pods}
			if test.options != nil {
				test.options(&options)
			}
			b := NewBuilder(options)
			add(b, test.objects...)
			table, _, problems := b.Build()
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
			for packet, want := range test.packets {
				if got := route(t, table, packet); got != want {
					t.Errorf("%s:\n got %s\nwant %s", packet, got, want)
				}
			}
		})
	}
}

func add(b *Builder, objects ...any) {
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			b.SetService(o)
		case *discoveryv1.EndpointSlice:
			b.SetSlice(o)
		}
	}
}

func TestBothFamiliesAreServedByTheSameObjects(t *testing.T) {
	web := servicetest.Service("web", "10.96.0.1", "80")
	web.Spec.ClusterIPs = []string{"10.96.0.1", "fd00:10:96::1"}
	web.Spec.ExternalIPs = []string{"192.0.2.1", "2001:db8::1"}
	objects := []any{
		web,
		servicetest.Slice("web", "web-4", []string{"8080"}, "10.244.1.1"),
		servicetest.Slice("web", "web-6", []string{"8080"}, "fd00:10:244::1"),
		servicetest.Service("only4", "10.96.0.2", "80"),
	}
	v4, v6 := NewBuilder(Options{Family: IPv4}), NewBuilder(Options{Family: IPv6})
	add(v4, objects...)
	add(v6, objects...)
	table4, _, problems4 := v4.Build()
	table6, _, problems6 := v6.Build()
	if len(problems4)+len(problems6) > 0 {
		t.Errorf("problems: %v %v", problems4, problems6)
	}
	if len(table4.Ports) != 2 || len(table6.Ports) != 1 {
		t.Errorf("%d and %d ports, want 2 and 1", len(table4.Ports), len(table6.Ports))
	}
	for packet, want := range map[string]string{
		"10.244.9.9 > 10.96.0.1:80":           "forward 10.244.1.1:8080",
		"fd00:10:244::9 > [fd00:10:96::1]:80": "forward [fd00:10:244::1]:8080",
		"2001:db8::9 > [2001:db8::1]:80":      "forward [fd00:10:244::1]:8080+m",
	} {
		table := table4
		if strings.Contains(packet, "[") {
			table = table6
		}
		if got := route(t, table, packet); got != want {
			t.Errorf("%s:\n got %s\nwant %s", packet, got, want)
		}
	}
}

func TestProblemsNameTheObjectOnce(t *testing.T) {
	tests := []struct {
		name    string
		objects []any
		want    []string // parts of each problem, in order, separated by " … "
		packet  string   // something that still has to work
		answer  string
	}{
		{
			name: "a port out of range, and the others go on",
			objects: []any{
				servicetest.Service("web", "10.96.0.1", "bad:70000", "http:80", "worse:81=99999"),
				servicetest.Slice("web", "web-1", []string{"http:8080"}, "10.244.1.1"),
			},
			want:   []string{`Service default/web … "bad" … port 70000`, `Service default/web … "worse" … node port 99999`},
			packet: "10.244.9.9 > 10.96.0.1:80", answer: "forward 10.244.1.1:8080",
		},
		{
			name: "endpoints that are not the address of a pod",
			objects: []any{
				servicetest.Service("web", "10.96.0.1", "80"),
				servicetest.Slice("web", "web-1", []string{"8080"}, "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "10.244.1.300", "10.244.1.1"),
			},
			want: []string{
				`EndpointSlice default/web-1 … "10.244.1.300" is not an IP address`,
				"EndpointSlice default/web-1 … 0.0.0.0", "EndpointSlice default/web-1 … 127.0.0.1 is a loopback",
				"EndpointSlice default/web-1 … 169.254.1.1 is a link-local", "EndpointSlice default/web-1 … 224.0.0.1",
			},
			packet: "10.244.9.9 > 10.96.0.1:80", answer: "forward 10.244.1.1:8080",
		},
		{
			name: "an endpoint of the other family, and a protocol nobody knows",
			objects: []any{
				servicetest.Service("web", "10.96.0.1", "80"),
				func() *discoveryv1.EndpointSlice {
					s := servicetest.Slice("web", "web-1", []string{"8080", "1/ICMP"}, "fd00::1", "10.244.1.1")
					s.AddressType = discoveryv1.AddressTypeIPv4
					return s
				}(),
			},
			want:   []string{"EndpointSlice default/web-1 … fd00::1 is of the other IP family", `EndpointSlice default/web-1 … "ICMP"`},
			packet: "10.244.9.9 > 10.96.0.1:80", answer: "forward 10.244.1.1:8080",
		},
		{
			name: "an affinity out of bounds, and source ranges that are none",
			objects: []any{
				with(servicetest.Service("web", "10.96.0.1", "80"), func(s *corev1.Service) {
					s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
					seconds := int32(100000)
					s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
					s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24", "everybody"}
					s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
				}),
				servicetest.Slice("web", "web-1", []string{"8080"}, "10.244.1.1"),
			},
			want:   []string{`Service default/web … "everybody"`, "Service default/web … 100000 seconds"},
			packet: "192.0.2.9 > 192.0.2.1:80", answer: "forward 10.244.1.1:8080+m",
		},
		{
			name:    "no cluster IP",
			objects: []any{servicetest.Service("web", "", "80")},
			want:    []string{"Service default/web … no cluster IP"},
			packet:  "10.244.9.9 > 10.96.0.1:80", answer: "pass",
		},
		{
			name:    "an external IP that would take over the node's loopback",
			objects: []any{with(servicetest.Service("web", "10.96.0.1", "80"), externalIPs("127.0.0.1", "192.0.2.1"))},
			want:    []string{"Service default/web … 127.0.0.1"},
			packet:  "10.244.9.9 > 192.0.2.1:80", answer: "reject",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewBuilder(Options{Family: IPv4, Pods: pods})
			add(b, test.objects...)
			table, _, problems := b.Build()
			checkProblems(t, problems, test.want)
			if got := route(t, table, test.packet); got != test.answer {
				t.Errorf("%s: got %s, want %s", test.packet, got, test.answer)
			}
			add(b, test.objects...)
			if _, _, again := b.Build(); len(again) > 0 {
				t.Errorf("said twice: %v", again)
			}
		})
	}
}

func TestTwoClaimsOnOneAddress(t *testing.T) {
	old, young := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	claimant := func(name, clusterIP string, created metav1.Time, ips ...string) *corev1.Service {
		s := servicetest.Service(name, clusterIP, "80")
		s.CreationTimestamp = created
		s.Spec.ExternalIPs = ips
		return s
	}
	endpoints := []any{
		servicetest.Slice("a", "a-1", []string{"8080"}, "10.244.1.1"),
		servicetest.Slice("b", "b-1", []string{"8080"}, "10.244.1.2"),
	}
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	steps := []struct {
		name     string
		do       func()
		packet   string
		want     string
		problems int
	}{
		{"the first one has it", func() { add(b, endpoints...); b.SetService(claimant("b", "10.96.0.2", young, "192.0.2.1")) },
			"192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.2:8080+m", 0},
		{"an older one takes it, whenever it is seen", func() { b.SetService(claimant("a", "10.96.0.1", old, "192.0.2.1")) },
			"192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.1:8080+m", 2},
		{"the loser keeps its other addresses", func() {}, "10.244.9.9 > 10.96.0.2:80", "forward 10.244.1.2:8080", 0},
		{"it falls back when the older one goes", func() { b.DeleteService("default", "a") },
			"192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.2:8080+m", 0},
		{"a third one comes and goes", func() {
			b.SetService(claimant("c", "10.96.0.3", metav1.NewTime(time.Unix(300, 0)), "192.0.2.1"))
			b.Build()
			b.DeleteService("default", "c")
		}, "192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.2:8080+m", 0},
		{"and then the older one is back", func() { b.SetService(claimant("a", "10.96.0.1", old, "192.0.2.1")) },
			"192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.1:8080+m", 2},
		{"a cluster IP is not taken by an older Service's external IP", func() { b.SetService(claimant("a", "10.96.0.1", old, "10.96.0.2")) },
			"10.244.9.9 > 10.96.0.2:80", "forward 10.244.1.2:8080", 2},
	}
	for _, step := range steps {
		step.do()
		table, _, problems := b.Build()
		if got := route(t, table, step.packet); got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
		if len(problems) != step.problems {
			t.Errorf("%s: problems %v", step.name, problems)
		}
		if twice := sharedAddress(table); twice != "" {
			t.Errorf("%s: %s", step.name, twice)
		}
	}
}

func TestBuildSaysExactlyWhatChanged(t *testing.T) {
	b := NewBuilder(Options{Family: IPv4, NodeName: servicetest.Node, Pods: pods})
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"a Service", func() { b.SetService(servicetest.Service("web", "10.96.0.1", "http:80", "dns:53/UDP")) },
			[]string{"default/web:dns/udp", "default/web:http/tcp"}},
		{"the same again", func() { b.SetService(servicetest.Service("web", "10.96.0.1", "http:80", "dns:53/UDP")) }, nil},
		{"an endpoint of one port", func() { b.SetSlice(servicetest.Slice("web", "web-1", []string{"http:8080"}, "10.244.1.1")) },
			[]string{"default/web:http/tcp"}},
		{"the endpoint moves to another slice", func() {
			b.SetSlice(servicetest.Slice("web", "web-2", []string{"http:8080"}, "10.244.1.1"))
			b.DeleteSlice("default", "web-1")
		}, nil},
		{"an endpoint that is not ready", func() {
			b.SetSlice(servicetest.Slice("web", "web-2", []string{"http:8080"}, "10.244.1.1", "10.244.1.2 !ready"))
		}, nil},
		{"a slice for a Service that nobody has seen", func() { b.SetSlice(servicetest.Slice("later", "later-1", []string{"80"}, "10.244.1.9")) }, nil},
		{"a port is taken away", func() { b.SetService(servicetest.Service("web", "10.96.0.1", "http:80")) }, []string{"default/web:dns/udp"}},
		{"the slice goes over to another Service", func() {
			b.SetService(servicetest.Service("later", "10.96.0.2", "http:80"))
			b.SetSlice(servicetest.Slice("later", "web-2", []string{"http:8080"}, "10.244.1.1"))
		}, []string{"default/later:http/tcp", "default/web:http/tcp"}},
		{"the Service goes", func() { b.DeleteService("default", "web") }, []string{"default/web:http/tcp"}},
	}
	for _, step := range steps {
		step.do()
		_, dirty, problems := b.Build()
		var got []string
		for name := range dirty {
			got = append(got, name.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", step.name, problems)
		}
	}
}

func TestManySmallStepsLeadToTheSameTableAsOne(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s, seed %d", family, seed), func(t *testing.T) {
				options := Options{Family: family, NodeName: servicetest.Node}
				stepwise, atOnce := NewBuilder(options), NewBuilder(options)
				world, same := servicetest.NewWorld(seed, family), servicetest.NewWorld(seed, family)
				var table *Table
				held := map[PortName]*Port{}
				for range 300 {
					world.Change(stepwise)
					same.Change(atOnce)
					var dirty PortSet
					table, dirty, _ = stepwise.Build()
					if twice := sharedAddress(table); twice != "" {
						t.Fatal(twice)
					}
					for name := range dirty {
						if held[name] = table.Port(name); held[name] == nil {
							delete(held, name)
						}
					}
				}
				want, _, _ := atOnce.Build()
				if diff := cmp.Diff(want, table, addresses); diff != "" {
					t.Errorf("tables (-at once +stepwise):\n%s", diff)
				}
				if len(held) != len(table.Ports) {
					t.Errorf("the dirty sets lead to %d ports, the table has %d", len(held), len(table.Ports))
				}
				for _, p := range table.Ports {
					if !held[p.Name].Equal(p) {
						t.Errorf("%s changed without being dirty", p.Name)
					}
				}
			})
		}
	}
}

// sharedAddress names an address that two ports of a Table answer on, if there is one.
func sharedAddress(table *Table) string {
	type address struct {
		netip.AddrPort
		Protocol
	}
	holders := map[address]PortName{}
	for _, p := range table.Ports {
		for _, f := range p.Frontends {
			a := address{f.Address, p.Name.Protocol}
			if other, held := holders[a]; held {
				return fmt.Sprintf("%s has %v, and so has %s", p.Name, a, other)
			}
			holders[a] = p.Name
		}
	}
	return ""
}
