package cases

import corev1 "k8s.io/api/core/v1"

var externalIPCases = []Case{
	{
		Name: "an external IP leads to every endpoint, and everybody is masqueraded",
		Steps: one(objects{svc("web", "80", externalIPs("ext1")), slice("web", "8080", "a", "b", "c", "d")},
			each("outside > ext1:80, pod > ext1:80, far > ext1:80, node > ext1:80", "a b c d masqueraded")),
	},
	{
		Name: "a Service answers on several external IPs, with all of its ports",
		Steps: one(objects{svc("web", "http:80 admin:81", externalIPs("ext1", "ext2")), slice("web", "http:8080 admin:9090", "a", "c")}, append(
			each("outside > ext1:80, outside > ext2:80", "a c masqueraded"),
			each("outside > ext1:81, pod > ext2:81", "a:9090 c:9090 masqueraded")...)),
	},
	{
		Name: "a port that an external IP does not have is nobody's",
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1")), slice("web", "8080", "a")},
			each("outside > ext1:81, outside > ext1:30000, outside > ext1:8080, pod > ext1:80/udp", "passed")),
	},
	{
		Name: "an address of the node itself may be an external IP",
		Steps: one(objects{svc("web", "30002", externalIPs("node")), slice("web", "8080", "a", "c")}, ask{
			{"outside > node:30002", "a c masqueraded"},
			{"pod > node:30002", "a c masqueraded"},
			{"node > node:30002", "a c masqueraded"},
			{"outside > gateway:30002", "passed"},
		}),
	},
	{
		Name: "the node's other ports stay its own where its address is an external IP",
		Steps: one(objects{svc("web", "30002", externalIPs("node")), slice("web", "8080", "a", "c")},
			each("outside > node:30003, node > node:30003, outside > node:30002/udp", "passed")),
	},
	{
		Name: "an external IP goes before a node port of the same number on the same address",
		Steps: one(objects{
			svc("web", "30002", externalIPs("node")), slice("web", "8080", "a"),
			svc("api", "80=30002"), slice("api", "9090", "c"),
		}, ask{
			{"outside > node:30002", "a masqueraded"},
			{"node > node:30002", "a masqueraded"},
			{"outside > gateway:30002", "c:9090 masqueraded"},
		}),
	},
	{
		Name: "an external IP without endpoints goes before a node port too",
		Steps: one(objects{
			svc("web", "30002", externalIPs("node")),
			svc("api", "80=30002"), slice("api", "9090", "c"),
		}, ask{
			{"outside > node:30002", "refused"},
			{"outside > gateway:30002", "c:9090 masqueraded"},
		}),
		Differs: "kube-proxy leaves the packet to the node port",
	},
	{
		Name: "a node port without endpoints is refused beside an external IP of the same number",
		Steps: one(objects{
			svc("web", "30002", externalIPs("node")), slice("web", "8080", "a"),
			svc("api", "80=30002"),
		}, ask{
			{"outside > node:30002", "a masqueraded"},
			{"outside > gateway:30002", "refused"},
		}),
	},
}

var balancerCases = []Case{
	{
		Name: "a load balancer's address leads to every endpoint, and everybody is masqueraded",
		Steps: one(objects{svc("web", "80=30000", balancer("lb1")), slice("web", "8080", "a", "b", "c")},
			each("outside > lb1:80, pod > lb1:80, far > lb1:80, node > lb1:80, outside > node:30000", "a b c masqueraded")),
	},
	{
		Name: "a load balancer may do without node ports",
		Steps: one(objects{svc("web", "80", balancer("lb1")), slice("web", "8080", "a", "c")}, ask{
			{"outside > lb1:80", "a c masqueraded"},
			{"outside > node:30000", "passed"},
		}),
	},
	{
		Name: "all addresses of a load balancer answer",
		Steps: one(objects{svc("web", "53/UDP", balancer("lb1", "lb2")), slice("web", "8080/UDP", "a", "c")},
			each("outside > lb1:53/udp, outside > lb2:53/udp", "a c masqueraded")),
	},
	{
		Name: "a load balancer that hands packets on as they are is answered for",
		Steps: one(objects{svc("web", "80", balancer("lb1"), balancerMode(corev1.LoadBalancerIPModeVIP)), slice("web", "8080", "a", "c")},
			each("outside > lb1:80, pod > lb1:80", "a c masqueraded")),
	},
	{
		Name: "a load balancer that is a proxy is not short-cut",
		Steps: one(objects{svc("web", "80=30000", balancer("lb1"), balancerMode(corev1.LoadBalancerIPModeProxy)), slice("web", "8080", "a", "c")}, ask{
			{"pod > lb1:80", "passed"},
			{"node > lb1:80", "passed"},
			{"outside > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name: "a load balancer with a host name alone has no address to answer on",
		Steps: one(objects{svc("web", "80=30000", balancer(), func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example.com"}, {IP: "lb2"}}
		}), slice("web", "8080", "a", "c")}, ask{
			{"pod > lb1:80", "passed"},
			{"pod > lb2:80", "a c masqueraded"},
			{"outside > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name: "one address may be an external IP and a load balancer's of one Service",
		Steps: one(objects{svc("web", "80", externalIPs("lb1"), balancer("lb1")), slice("web", "8080", "a", "c")},
			each("outside > lb1:80, pod > lb1:80", "a c masqueraded")),
	},
}

// claimCases say who has an address that two Services want.
var claimCases = []Case{
	{
		Name: "no Service can take another's cluster IP for its external IP, however old it is",
		Steps: one(objects{
			svc("web", "80", created(2)), slice("web", "8080", "a"),
			svc("api", "80", created(1), externalIPs("web", "ext1")), slice("api", "8080", "c"),
		}, ask{
			{"pod > web:80", "a kept"},
			{"outside > web:80", "a masqueraded"},
			{"outside > ext1:80", "c masqueraded"},
		}),
		Differs: "kube-proxy writes both, and the order of its map decides",
	},
	{
		Name: "the older of two Services has the external IP that both want, and the other one inherits it",
		Steps: []Step{
			{
				Objects: objects{
					svc("web", "80", created(2), externalIPs("ext1")), slice("web", "8080", "a"),
					svc("api", "80", created(1), externalIPs("ext1")), slice("api", "8080", "c"),
				},
				Ask: ask{{"outside > ext1:80", "c masqueraded"}, {"pod > web:80", "a kept"}, {"pod > api:80", "c kept"}},
			},
			{
				Objects: objects{svc("web", "80", created(2), externalIPs("ext1")), slice("web", "8080", "a")},
				Ask:     ask{{"outside > ext1:80", "a masqueraded"}},
			},
		},
		Differs: "kube-proxy writes both, and the order of its map decides",
	},
	{
		Name: "the older of two Services has the load balancer's address even if it has no endpoints",
		Steps: one(objects{
			svc("web", "80", created(1), balancer("lb1")),
			svc("api", "80", created(2), externalIPs("lb1")), slice("api", "8080", "c"),
		}, ask{{"outside > lb1:80", "refused"}, {"pod > api:80", "c kept"}}),
		Differs: "kube-proxy writes both, and the one with endpoints is reached",
	},
	{
		Name: "no Service can take another's load-balancer IP for its external IP, however old it is",
		Steps: one(objects{
			svc("web", "80", created(2), balancer("lb1")), slice("web", "8080", "a"),
			svc("api", "80", created(1), externalIPs("lb1", "ext1")), slice("api", "8080", "c"),
		}, ask{
			{"outside > lb1:80", "a masqueraded"},
			{"pod > lb1:80", "a masqueraded"},
			{"outside > ext1:80", "c masqueraded"},
		}),
		Differs: "kube-proxy writes both, and the order of its map decides",
	},
	{
		Name: "two Services share an external IP by ports and by protocols",
		Steps: one(objects{
			svc("web", "53", externalIPs("ext1")), slice("web", "8080", "a"),
			svc("api", "53/UDP admin:81", externalIPs("ext1")), slice("api", "8080/UDP admin:9090", "c"),
		}, ask{
			{"outside > ext1:53", "a masqueraded"},
			{"outside > ext1:53/udp", "c masqueraded"},
			{"outside > ext1:81", "c:9090 masqueraded"},
		}),
	},
	{
		Name: "a load balancer's address may be shared by ports, each with its own policy",
		Steps: one(objects{
			svc("web", "80", balancer("lb1"), externalLocal), slice("web", "8080", "a", "c"),
			svc("api", "81", balancer("lb1")), slice("api", "8080", "a", "c"),
		}, ask{
			{"outside > lb1:80", "a kept"},
			{"outside > lb1:81", "a c masqueraded"},
		}),
	},
}
