package cases

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Endpoints that most changes leave alone.
var ac = slice("web", "8080", "a", "c")

// Ways in of a Service with everything, asked when it has them and when it has them no more.
const (
	atClusterIP = "pod > web:80"
	atNodePort  = "outside > node:30000"
	atBalancer  = "outside > lb1:80"
)

func with(s *corev1.Service) Step {
	step := Step{Objects: objects{s, ac}, Ask: ask{{atClusterIP, "a c kept"}, {atNodePort, "passed"}, {atBalancer, "passed"}}}
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == corev1.ClusterIPNone {
		step.Ask[0].Want = "passed"
	}
	if s.Spec.Ports[0].NodePort != 0 {
		step.Ask[1].Want = "a c masqueraded"
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 {
		step.Ask[2].Want = "a c masqueraded"
	}
	return step
}

// One Service in each of its types.
var (
	asClusterIP    = with(svc("web", "80"))
	asNodePort     = with(svc("web", "80=30000"))
	asBalancer     = with(svc("web", "80=30000", balancer("lb1")))
	asHeadless     = with(svc("web", "80", clusterIP(corev1.ClusterIPNone)))
	asExternalName = with(svc("web", "80", ofType(corev1.ServiceTypeExternalName)))
)

var typeChangeCases = []Case{
	{Name: "ClusterIP becomes NodePort and back", Steps: []Step{asClusterIP, asNodePort, asClusterIP}},
	{Name: "ClusterIP becomes LoadBalancer and back", Steps: []Step{asClusterIP, asBalancer, asClusterIP}},
	{Name: "NodePort becomes LoadBalancer and back", Steps: []Step{asNodePort, asBalancer, asNodePort}},
	{Name: "ClusterIP becomes ExternalName and back", Steps: []Step{asClusterIP, asExternalName, asClusterIP}},
	{Name: "NodePort becomes ExternalName and back", Steps: []Step{asNodePort, asExternalName, asNodePort}},
	{Name: "LoadBalancer becomes ExternalName and back", Steps: []Step{asBalancer, asExternalName, asBalancer}},
	{Name: "a Service comes again as headless, and then with a cluster IP", Steps: []Step{asNodePort, asHeadless, asNodePort}},
	{Name: "LoadBalancer gets its address later, another one, and none",
		Steps: []Step{
			{Objects: objects{svc("web", "80=30000", balancer()), ac}, Ask: ask{{atNodePort, "a c masqueraded"}, {atBalancer, "passed"}}},
			{Objects: objects{svc("web", "80=30000", balancer("lb1")), ac}, Ask: ask{{atBalancer, "a c masqueraded"}}},
			{Objects: objects{svc("web", "80=30000", balancer("lb2")), ac}, Ask: ask{{atBalancer, "passed"}, {"outside > lb2:80", "a c masqueraded"}}},
			{Objects: objects{svc("web", "80=30000", balancer()), ac}, Ask: each("outside > lb1:80, outside > lb2:80", "passed")},
		},
	},
	{Name: "external IPs come and go",
		Steps: []Step{
			{Objects: objects{svc("web", "80"), ac}, Ask: ask{{"outside > ext1:80", "passed"}}},
			{Objects: objects{svc("web", "80", externalIPs("ext1")), ac}, Ask: ask{{"outside > ext1:80", "a c masqueraded"}}},
			{Objects: objects{svc("web", "80", externalIPs("ext2")), ac}, Ask: ask{{"outside > ext1:80", "passed"}, {"outside > ext2:80", "a c masqueraded"}}},
			{Objects: objects{svc("web", "80"), ac}, Ask: ask{{"outside > ext2:80", "passed"}, {atClusterIP, "a c kept"}}},
		},
	},
	{Name: "a Service is deleted, and comes again with the same addresses",
		Steps: []Step{
			asBalancer,
			{Objects: objects{ac}, Ask: each(atClusterIP+", "+atNodePort+", "+atBalancer, "passed")},
			asBalancer,
		},
	},
	{Name: "a Service is deleted with its endpoints, and comes again with others",
		Steps: []Step{
			asNodePort,
			{Ask: each(atClusterIP+", "+atNodePort, "passed")},
			{Objects: objects{svc("web", "80=30000"), slice("web", "9090", "b")}, Ask: ask{{atClusterIP, "b:9090 kept"}, {atNodePort, "b:9090 masqueraded"}}},
		},
	},
	{Name: "a Service comes again with another cluster IP",
		Steps: []Step{
			asClusterIP,
			{Objects: objects{svc("web", "80", clusterIP("db")), ac}, Ask: ask{{"pod > db:80", "a c kept"}, {atClusterIP, "passed"}}},
			asClusterIP,
		},
	},
	{Name: "another Service takes over the cluster IP, the node port and the external IP of one that goes",
		Steps: []Step{
			{Objects: objects{svc("web", "80=30000", externalIPs("ext1")), slice("web", "8080", "a"), slice("api", "9090", "c")},
				Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a masqueraded"}, {"outside > ext1:80", "a masqueraded"}}},
			{Objects: objects{svc("api", "80=30000", clusterIP("web"), externalIPs("ext1")), slice("web", "8080", "a"), slice("api", "9090", "c")},
				Ask: ask{{atClusterIP, "c:9090 kept"}, {atNodePort, "c:9090 masqueraded"}, {"outside > ext1:80", "c:9090 masqueraded"}}},
		},
	},
}

var portChangeCases = []Case{
	{Name: "ports come and go",
		Steps: []Step{
			{
				Objects: objects{svc("web", "http:80"), slice("web", "http:8080 admin:9090", "a", "c")},
				Ask:     ask{{"pod > web:80", "a c kept"}, {"pod > web:81", "passed"}},
			},
			{
				Objects: objects{svc("web", "http:80 admin:81"), slice("web", "http:8080 admin:9090", "a", "c")},
				Ask:     ask{{"pod > web:81", "a:9090 c:9090 kept"}, {"pod > web:80", "a c kept"}},
			},
			{
				Objects: objects{svc("web", "admin:81"), slice("web", "http:8080 admin:9090", "a", "c")},
				Ask:     ask{{"pod > web:80", "passed"}, {"pod > web:81", "a:9090 c:9090 kept"}},
			},
		},
	},
	{Name: "a port gets another number, another name, another target port and another protocol",
		Steps: []Step{
			{Objects: objects{svc("web", "http:80"), slice("web", "http:8080 admin:9090", "a", "c")}, Ask: ask{{"pod > web:80", "a c kept"}}},
			{
				Objects: objects{svc("web", "http:82"), slice("web", "http:8080 admin:9090", "a", "c")},
				Ask:     ask{{"pod > web:82", "a c kept"}, {"pod > web:80", "passed"}},
			},
			{Objects: objects{svc("web", "admin:82"), slice("web", "http:8080 admin:9090", "a", "c")}, Ask: ask{{"pod > web:82", "a:9090 c:9090 kept"}}},
			{Objects: objects{svc("web", "admin:82"), slice("web", "admin:8080", "a", "c")}, Ask: ask{{"pod > web:82", "a c kept"}}},
			{
				Objects: objects{svc("web", "admin:82/UDP"), slice("web", "admin:8080/UDP", "a", "c")},
				Ask:     ask{{"pod > web:82/udp", "a c kept"}, {"pod > web:82", "passed"}},
			},
		},
	},
	{Name: "a port and its endpoints change their protocol at different times",
		Steps: []Step{
			{Objects: objects{svc("web", "53"), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:53", "a c kept"}, {"pod > web:53/udp", "passed"}}},
			{Objects: objects{svc("web", "53/UDP"), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:53/udp", "refused"}, {"pod > web:53", "passed"}}},
			{Objects: objects{svc("web", "53/UDP"), slice("web", "8080/UDP", "a", "c")}, Ask: ask{{"pod > web:53/udp", "a c kept"}}},
		},
	},
	{Name: "a node port moves",
		Steps: []Step{
			asNodePort,
			{Objects: objects{svc("web", "80=30001"), ac}, Ask: ask{{"outside > node:30001", "a c masqueraded"}, {"outside > node:30000", "passed"}}},
			asNodePort,
		},
	},
	{Name: "two Services swap their node ports",
		Steps: []Step{
			{Objects: objects{svc("web", "80=30000"), svc("api", "80=30001"), slice("web", "8080", "a"), slice("api", "9090", "c")},
				Ask: ask{{"outside > node:30000", "a masqueraded"}, {"outside > node:30001", "c:9090 masqueraded"}}},
			{Objects: objects{svc("web", "80=30001"), svc("api", "80=30000"), slice("web", "8080", "a"), slice("api", "9090", "c")},
				Ask: ask{{"outside > node:30001", "a masqueraded"}, {"outside > node:30000", "c:9090 masqueraded"}}},
		},
	},
	{Name: "forty ports come at once and go again",
		Steps: []Step{
			{Objects: objects{svc("web", "80"), ac}, Ask: ask{{"pod > web:80", "a c kept"}, {"pod > web:7740", "passed"}}},
			{
				Objects: objects{svc("web", servicePorts()), slice("web", targetPorts(8080), "a", "c")},
				Ask:     ask{{"pod > web:7740", "a c kept"}, {"pod > web:80", "passed"}},
			},
			{Objects: objects{svc("web", "80"), ac}, Ask: ask{{"pod > web:80", "a c kept"}, {"pod > web:7740", "passed"}}},
		},
	},
}

var web = svc("web", "80=30000")

var endpointChangeCases = []Case{
	{Name: "endpoints come and go",
		Steps: []Step{
			{Objects: objects{web, slice("web", "8080", "a")}, Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a masqueraded"}}},
			{Objects: objects{web, slice("web", "8080", "a", "b", "c", "d")}, Ask: ask{{atClusterIP, "a b c d kept"}, {atNodePort, "a b c d masqueraded"}}},
			{Objects: objects{web, slice("web", "8080", "b", "d")}, Ask: ask{{atClusterIP, "b d kept"}, {atNodePort, "b d masqueraded"}}},
			{Objects: objects{web, slice("web", "8080", "c")}, Ask: ask{{atClusterIP, "c kept"}, {atNodePort, "c masqueraded"}}},
		},
	},
	{Name: "the last endpoint goes, and one is back",
		Steps: []Step{
			{Objects: objects{web, slice("web", "8080", "a")}, Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a masqueraded"}}},
			{Objects: objects{web, slice("web", "8080")}, Ask: each(atClusterIP+", "+atNodePort, "refused")},
			{Objects: objects{web, slice("web", "8080", "c")}, Ask: ask{{atClusterIP, "c kept"}, {atNodePort, "c masqueraded"}}},
			{Objects: objects{web}, Ask: each(atClusterIP+", "+atNodePort, "refused")},
		},
	},
	{Name: "endpoints become very many and few again",
		Steps: []Step{
			{Objects: objects{svc("web", "53/UDP"), slice("web", "8080/UDP", "a", "c")}, Ask: ask{{"pod > web:53/udp", "a c kept"}}},
			{Objects: objects{svc("web", "53/UDP"), slice("web", "8080/UDP", many()...)}, Ask: ask{{"pod > web:53/udp", manyWords + " kept"}}},
			{Objects: objects{svc("web", "53/UDP"), slice("web", "8080/UDP", "a", "c")}, Ask: ask{{"pod > web:53/udp", "a c kept"}}},
		},
	},
	{Name: "a slice is split, and two are merged",
		Steps: []Step{
			{Objects: objects{web, slice("web", "8080", "a", "b", "c")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web", "8080", "a"), slice("web/2", "8080", "b", "c")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web/3", "8080", "a", "b", "c")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web/3", "8080", "a", "b", "c"), slice("web", "8080", "d")}, Ask: ask{{atClusterIP, "a b c d kept"}}},
		},
	},
	{Name: "an endpoint moves to another slice, and stands in both for a while",
		Steps: []Step{
			{Objects: objects{web, slice("web", "8080", "a", "c"), slice("web/2", "8080", "b")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web", "8080", "a", "c"), slice("web/2", "8080", "b", "c")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web", "8080", "a"), slice("web/2", "8080", "b", "c")}, Ask: ask{{atClusterIP, "a b c kept"}}},
			{Objects: objects{web, slice("web", "8080", "a"), slice("web/2", "8080", "b")}, Ask: ask{{atClusterIP, "a b kept"}}},
		},
	},
	{Name: "a slice is given to another Service",
		Steps: []Step{
			{
				Objects: objects{web, svc("api", "80"), slice("web", "8080", "a"), slice("web/2", "8080", "c")},
				Ask:     ask{{atClusterIP, "a c kept"}, {"pod > api:80", "refused"}},
			},
			{
				Objects: objects{web, svc("api", "80"), slice("web", "8080", "a"), alter(slice("web/2", "8080", "c"), ownedBy("api"))},
				Ask:     ask{{"pod > api:80", "c kept"}, {atClusterIP, "a kept"}},
			},
			{
				Objects: objects{web, svc("api", "80"), alter(slice("web", "8080", "a"), ownedBy("api")), alter(slice("web/2", "8080", "c"), ownedBy("web"))},
				Ask:     ask{{"pod > api:80", "a kept"}, {atClusterIP, "c kept"}},
			},
		},
	},
	{Name: "a pod's address is used again by a pod of another Service",
		Steps: []Step{
			{
				Objects: objects{web, svc("api", "80"), slice("web", "8080", "a", "b"), slice("api", "8080", "c")},
				Ask:     ask{{atClusterIP, "a b kept"}, {"pod > api:80", "c kept"}},
			},
			{
				Objects: objects{web, svc("api", "80"), slice("web", "8080", "a !ready terminating", "b"), slice("api", "8080", "a", "c")},
				Ask:     ask{{atClusterIP, "b kept"}, {"pod > api:80", "a c kept"}},
			},
			{
				Objects: objects{web, svc("api", "80"), slice("web", "8080", "b"), slice("api", "8080", "a", "c")},
				Ask:     ask{{atClusterIP, "b kept"}, {"pod > api:80", "a c kept"}, {"a > api:80", "a masqueraded, c kept"}},
			},
		},
	},
	{Name: "a pod's address is used again on another node",
		Steps: []Step{
			{Objects: objects{bothLocal, slice("web", "8080", "a")}, Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a kept"}}},
			{
				Objects: objects{bothLocal, alter(slice("web", "8080", "a"), func(s *discoveryv1.EndpointSlice) { *s.Endpoints[0].NodeName = Node2 })},
				Ask:     each(atClusterIP+", "+atNodePort, "dropped"),
			},
		},
	},
}

// ownedBy makes a slice one of another Service.
func ownedBy(service string) func(*discoveryv1.EndpointSlice) {
	return func(s *discoveryv1.EndpointSlice) {
		s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	}
}

var policyChangeCases = []Case{
	{Name: "the policy for outsiders changes to Local and back",
		Steps: []Step{
			{Objects: objects{web, ac}, Ask: ask{{atNodePort, "a c masqueraded"}}},
			{Objects: objects{svc("web", "80=30000", externalLocal), ac}, Ask: ask{{atNodePort, "a kept"}, {"pod > node:30000", "a c kept"}}},
			{Objects: objects{web, ac}, Ask: ask{{atNodePort, "a c masqueraded"}, {"pod > node:30000", "a c masqueraded"}}},
		},
	},
	{Name: "the policy for pods changes to Local and back",
		Steps: []Step{
			{Objects: objects{web, ac}, Ask: ask{{atClusterIP, "a c kept"}}},
			{Objects: objects{svc("web", "80=30000", internalLocal), ac}, Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a c masqueraded"}}},
			{Objects: objects{web, ac}, Ask: ask{{atClusterIP, "a c kept"}}},
		},
	},
	{Name: "with the local policies the last endpoint here goes, then the last of all, and they come back",
		Steps: []Step{
			{Objects: objects{bothLocal, slice("web", "8080", "a", "c")}, Ask: ask{{atClusterIP, "a kept"}, {atNodePort, "a kept"}}},
			{
				Objects: objects{bothLocal, slice("web", "8080", "c")},
				Ask:     append(each(atClusterIP+", "+atNodePort, "dropped"), Question{"pod > node:30000", "c kept"}),
			},
			{Objects: objects{bothLocal, slice("web", "8080")}, Ask: each(atClusterIP+", "+atNodePort+", pod > node:30000", "refused")},
			{
				Objects: objects{bothLocal, slice("web", "8080", "d")},
				Ask:     append(each(atClusterIP+", "+atNodePort, "dropped"), Question{"pod > node:30000", "d kept"}),
			},
			{
				Objects: objects{bothLocal, slice("web", "8080", "b", "d")},
				Ask:     ask{{atClusterIP, "b kept"}, {atNodePort, "b kept"}, {"pod > node:30000", "b d kept"}},
			},
		},
	},
}
