package cases

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// change is a field of a Service that a case sets.
type change func(*corev1.Service)

// svc makes a Service whose cluster IP is the one of its name. Ports are written "http:80=30000 dns:53/UDP", with the node
// port behind the equals sign. A Service is of type NodePort if it has such a one.
func svc(name, ports string, changes ...change) *corev1.Service {
	s := servicetest.Service(name, name, strings.Fields(ports)...)
	if strings.Contains(ports, "=") {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	for _, c := range changes {
		c(s)
	}
	return s
}

func externalIPs(ips ...string) change {
	return func(s *corev1.Service) { s.Spec.ExternalIPs = ips }
}

// balancer gives a Service the addresses of a load balancer.
func balancer(ips ...string) change {
	return func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		for _, ip := range ips {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

// balancerMode says how the load balancer hands packets on.
func balancerMode(mode corev1.LoadBalancerIPMode) change {
	return func(s *corev1.Service) {
		for i := range s.Status.LoadBalancer.Ingress {
			s.Status.LoadBalancer.Ingress[i].IPMode = &mode
		}
	}
}

func sourceRanges(ranges ...string) change {
	return func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = ranges }
}

func externalLocal(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func internalLocal(s *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s.Spec.InternalTrafficPolicy = &local
}

func affinity(timeout time.Duration) change {
	return func(s *corev1.Service) {
		seconds := int32(timeout.Seconds())
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}

// clusterIP gives a Service the cluster IP of another name, or "None".
func clusterIP(name string) change {
	return func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = name, []string{name} }
}

// dualStack gives a Service a cluster IP of the other family too.
func dualStack(s *corev1.Service) {
	s.Spec.ClusterIPs = []string{s.Name, s.Name + otherFamily}
	s.Spec.ClusterIP = s.Name
}

// label sets a label.
func label(key, value string) change {
	return func(s *corev1.Service) { s.Labels = map[string]string{key: value} }
}

// created says in which second of its life the cluster got the Service.
func created(second int64) change {
	return func(s *corev1.Service) { s.CreationTimestamp = metav1.Time{Time: time.Unix(1_700_000_000+second, 0)} }
}

// ofType sets a Service's type.
func ofType(t corev1.ServiceType) change {
	return func(s *corev1.Service) { s.Spec.Type = t }
}

// slice makes an EndpointSlice of a Service. A name such as "web/2" sets more than one apart. Ports are written as those of a
// Service; an endpoint by its name, then any of "!ready", "!serving", "terminating", "zones=here,there", "nodes=node1" and
// "nowhere", which means that the slice does not say on which node it is.
func slice(name, ports string, endpoints ...string) *discoveryv1.EndpointSlice {
	owner, _, _ := strings.Cut(name, "/")
	s := servicetest.Slice(owner, strings.ReplaceAll(name, "/", "-"), strings.Fields(ports))
	for _, text := range endpoints {
		s.Endpoints = append(s.Endpoints, endpoint(text))
	}
	return s
}

// endpoint panics where the text cannot be read: the table is part of the program.
func endpoint(text string) discoveryv1.Endpoint {
	words := strings.Fields(text)
	e := discoveryv1.Endpoint{Addresses: words[:1]}
	if _, node := (atlas{}).pod(strings.TrimSuffix(words[0], otherFamily)); node != "" {
		e.NodeName = &node
	}
	yes, no := true, false
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "!ready":
			e.Conditions.Ready = &no
		case "ready":
			e.Conditions.Ready = &yes
		case "!serving":
			e.Conditions.Serving = &no
		case "serving":
			e.Conditions.Serving = &yes
		case "terminating":
			e.Conditions.Terminating = &yes
		case "nowhere":
			e.NodeName = nil
		case "zones", "nodes":
			e.Hints = hint(e.Hints, key, strings.Split(value, ","))
		default:
			panic(fmt.Sprintf("endpoint %q: what is %q?", text, word))
		}
	}
	return e
}

func hint(hints *discoveryv1.EndpointHints, kind string, names []string) *discoveryv1.EndpointHints {
	if hints == nil {
		hints = &discoveryv1.EndpointHints{}
	}
	for _, name := range names {
		if kind == "zones" {
			hints.ForZones = append(hints.ForZones, discoveryv1.ForZone{Name: name})
		} else {
			hints.ForNodes = append(hints.ForNodes, discoveryv1.ForNode{Name: name})
		}
	}
	return hints
}

// alter changes a slice in a way that is too rare for a word of its own.
func alter(s *discoveryv1.EndpointSlice, f func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	f(s)
	return s
}

// many lists the endpoints m1 to m40.
func many() []string {
	names := make([]string, Crowd)
	for i := range names {
		names[i] = fmt.Sprintf("m%d", i+1)
	}
	return names
}

// servicePorts lists forty ports, named p0 to p39: 7000, 7037 and so on. targetPorts leads all of them to one port.
func servicePorts() string { return fortyPorts(func(i int) int { return 7000 + 37*i }) }

func targetPorts(port int) string { return fortyPorts(func(int) int { return port }) }

func fortyPorts(number func(i int) int) string {
	var ports strings.Builder
	for i := range 40 {
		fmt.Fprintf(&ports, "p%d:%d ", i, number(i))
	}
	return ports.String()
}

// objects and ask keep the table short.
type (
	objects = []Object
	ask     = []Question
)

// one is the only step of a case.
func one(o objects, q ask) []Step { return []Step{{Objects: o, Ask: q}} }

// each asks the same by several packets, which are parted by commas.
func each(packets, want string) ask {
	var questions ask
	for packet := range strings.SplitSeq(packets, ", ") {
		questions = append(questions, Question{packet, want})
	}
	return questions
}

// manyWords names them in an answer.
var manyWords = strings.Join(many(), " ")
