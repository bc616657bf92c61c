package cases

var clusterIPCases = []Case{
	{
		Name: "a cluster IP leads to every endpoint, and pods keep their address",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b", "c", "d")}, ask{
			{"pod > web:80", "a b c d kept"},
			{"far > web:80", "a b c d kept"},
		}),
	},
	{
		Name: "a cluster IP answers the node itself and clients from outside of the cluster, masqueraded",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "c", "d")}, ask{
			{"node > web:80", "a c d masqueraded"},
			{"outside > web:80", "a c d masqueraded"},
		}),
	},
	{
		Name: "UDP goes the same ways as TCP",
		Steps: one(objects{svc("web", "53/UDP=30000", externalIPs("ext1")), slice("web", "8080/UDP", "a", "b", "c")}, ask{
			{"pod > web:53/udp", "a b c kept"},
			{"node > web:53/udp", "a b c masqueraded"},
			{"outside > web:53/udp", "a b c masqueraded"},
			{"outside > node:30000/udp", "a b c masqueraded"},
			{"outside > ext1:53/udp", "a b c masqueraded"},
		}),
	},
	{
		Name: "SCTP goes the same ways as TCP",
		Steps: one(objects{svc("web", "90/SCTP=30000", externalIPs("ext1")), slice("web", "8080/SCTP", "a", "c")}, ask{
			{"pod > web:90/sctp", "a c kept"},
			{"node > web:90/sctp", "a c masqueraded"},
			{"outside > node:30000/sctp", "a c masqueraded"},
			{"outside > ext1:90/sctp", "a c masqueraded"},
			{"pod > web:90", "passed"},
		}),
	},
	{
		Name: "SCTP without endpoints is refused",
		Steps: one(objects{svc("web", "90/SCTP=30000"), slice("web", "8080/SCTP")}, ask{
			{"pod > web:90/sctp", "refused"},
			{"outside > node:30000/sctp", "refused"},
		}),
	},
	{
		Name: "a port that a cluster IP does not have is nobody's",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a")},
			each("pod > web:81, pod > web:8080, node > web:81, outside > web:79, pod > web:81/udp", "passed")),
	},
	{
		Name: "a protocol that a port does not have is nobody's",
		Steps: one(objects{svc("web", "80"), svc("api", "53/UDP"), slice("web", "8080", "a"), slice("api", "8080/UDP", "a")}, ask{
			{"pod > web:80/udp", "passed"},
			{"pod > api:53", "passed"},
			{"pod > web:80", "a kept"},
			{"pod > api:53/udp", "a kept"},
		}),
	},
	{
		Name: "an address that no Service has is nobody's",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a")},
			each("pod > db:80, outside > ext1:80, node > lb1:80, pod > db:80/udp", "passed")),
	},
	{
		Name: "packets straight to a pod or to the node are left alone",
		Steps: one(objects{svc("web", "8080=30000"), slice("web", "8080", "a", "c")},
			each("pod > a:8080, pod > c:8080, outside > a:8080, node > a:8080, far > b:8080, outside > node:30001, pod > node:30001, node > gateway:30001", "passed")),
	},
	{
		Name: "each of several ports leads to its own target port",
		Steps: one(objects{svc("web", "http:80 admin:81"), slice("web", "http:8080 admin:9090", "a", "c")}, ask{
			{"pod > web:80", "a c kept"},
			{"pod > web:81", "a:9090 c:9090 kept"},
		}),
	},
	{
		Name: "a port number may stand for two protocols, each with its own target port",
		Steps: one(objects{svc("web", "dns:53/UDP dns-tcp:53"), slice("web", "dns:8080/UDP dns-tcp:9090", "a", "b")}, ask{
			{"pod > web:53/udp", "a b kept"},
			{"pod > web:53", "a:9090 b:9090 kept"},
		}),
	},
	{
		Name: "two ports may have one target port",
		Steps: one(objects{svc("web", "http:80 alias:8080"), slice("web", "http:8080 alias:8080", "a", "b")},
			each("pod > web:80, pod > web:8080", "a b kept")),
	},
	{
		Name: "ports of a slice are those of the Service by name, not by number",
		Steps: one(objects{svc("web", "http:8080 admin:81"), slice("web", "other:8080 admin:9090", "a"), slice("web/2", "8080", "b")}, ask{
			{"pod > web:8080", "refused"},
			{"pod > web:81", "a:9090 kept"},
		}),
	},
	{
		Name: "pods of one Service may differ in their target port",
		Steps: one(objects{svc("web", "http:80"), slice("web", "http:8080", "a", "c"), slice("web/2", "http:9090", "b")},
			ask{{"pod > web:80", "a b:9090 c kept"}}),
	},
	{
		Name: "one pod may be behind two ports of its own in one Service port",
		Steps: one(objects{svc("web", "http:80"), slice("web", "http:8080", "a"), slice("web/2", "http:9090", "a")},
			ask{{"pod > web:80", "a a:9090 kept"}}),
	},
	{
		Name: "a pod may be behind several Services",
		Steps: one(objects{svc("web", "80"), svc("api", "80"), slice("web", "8080", "a", "c"), slice("api", "9090", "a", "b")}, ask{
			{"pod > web:80", "a c kept"},
			{"pod > api:80", "a:9090 b:9090 kept"},
		}),
	},
	{
		Name: "each of forty endpoints is reached",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", many()...)},
			ask{{"pod > web:80", manyWords + " kept"}}),
	},
	{
		Name: "each of forty ports is reached, and none between",
		Steps: one(objects{svc("web", servicePorts()), slice("web", targetPorts(8080), "a", "c")}, ask{
			{"pod > web:7000", "a c kept"},
			{"pod > web:7740", "a c kept"},
			{"pod > web:8443", "a c kept"},
			{"pod > web:7001", "passed"},
			{"pod > web:8480", "passed"},
		}),
	},
	{
		Name: "a dual-stack Service sends each family to endpoints of that family",
		Steps: one(objects{svc("web", "80", dualStack), slice("web", "8080", "a", "c"), slice("web/2", "8080", "b~", "d~")},
			ask{{"pod > web:80", "a c kept"}, {"outside > web:80", "a c masqueraded"}}),
	},
	{
		Name: "endpoints of the other family alone are none",
		Steps: one(objects{svc("web", "80", dualStack), slice("web", "8080", "a~", "c~")},
			ask{{"pod > web:80", "refused"}}),
	},
}
