package cases

// refusalCases say what becomes of packets for which there is no endpoint anywhere.
var refusalCases = []Case{
	{
		Name: "without endpoints everybody is refused, on every way in",
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1"), balancer("lb1"))},
			each("pod > web:80, node > web:80, outside > web:80, outside > node:30000, pod > node:30000, node > node:30000, "+
				"outside > ext1:80, pod > ext1:80, node > ext1:80, outside > lb1:80, pod > lb1:80, node > lb1:80", "refused")),
	},
	{
		Name: "without endpoints everybody is refused over UDP too",
		Steps: one(objects{svc("web", "53/UDP=30000", externalIPs("ext1"), balancer("lb1")), slice("web", "8080/UDP")},
			each("pod > web:53/udp, node > web:53/udp, outside > node:30000/udp, outside > ext1:53/udp, outside > lb1:53/udp", "refused")),
	},
	{
		Name: "a port without endpoints is refused beside one that has some",
		Steps: one(objects{svc("web", "http:80=30000 admin:81=30001"), slice("web", "http:8080", "a", "c")}, ask{
			{"pod > web:80", "a c kept"},
			{"outside > node:30000", "a c masqueraded"},
			{"pod > web:81", "refused"},
			{"outside > node:30001", "refused"},
		}),
	},
	{
		Name:  "masquerade-all does not change who is refused",
		Flags: Flags{MasqueradeAll: true},
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1"))}, each("pod > web:80, outside > node:30000, outside > ext1:80", "refused")),
	},
}

// internalLocalCases are about internalTrafficPolicy: Local.
var internalLocalCases = []Case{
	{
		Name: "internal Local: a cluster IP leads to endpoints of this node alone",
		Steps: one(objects{svc("web", "80", internalLocal), slice("web", "8080", "a", "b", "c", "d")}, ask{
			{"pod > web:80", "a b kept"},
			{"node > web:80", "a b masqueraded"},
			{"outside > web:80", "a b masqueraded"},
			{"a > web:80", "a masqueraded, b kept"},
		}),
	},
	{
		Name: "internal Local: without an endpoint here, but some elsewhere, packets are dropped",
		Steps: one(objects{svc("web", "80 dns:53/UDP", internalLocal), slice("web", "8080 dns:8080/UDP", "c", "d")},
			each("pod > web:80, node > web:80, outside > web:80, pod > web:53/udp", "dropped")),
	},
	{
		Name: "internal Local: an endpoint of which no slice says where it is, is not here",
		Steps: one(objects{svc("web", "80", internalLocal), slice("web", "8080", "a nowhere")},
			each("pod > web:80, node > web:80", "dropped")),
	},
	{
		Name:  "internal Local: without any endpoint packets are refused",
		Steps: one(objects{svc("web", "80", internalLocal)}, each("pod > web:80, node > web:80, outside > web:80", "refused")),
	},
	{
		Name: "internal Local: the other ways in lead to all endpoints",
		Steps: one(objects{svc("web", "80=30000", internalLocal, externalIPs("ext1"), balancer("lb1")), slice("web", "8080", "c", "d")}, append(
			each("outside > node:30000, pod > node:30000, outside > ext1:80, outside > lb1:80", "c d masqueraded"), Question{"pod > web:80", "dropped"})),
	},
	{
		Name: "internal and external Local together",
		Steps: one(objects{svc("web", "80=30000", internalLocal, externalLocal), slice("web", "8080", "a", "b", "c")}, ask{
			{"pod > web:80", "a b kept"},
			{"outside > node:30000", "a b kept"},
			{"pod > node:30000", "a b c kept"},
			{"node > node:30000", "a b c masqueraded"},
		}),
	},
	{
		Name: "internal and external Local together, without an endpoint here",
		Steps: one(objects{svc("web", "80=30000", internalLocal, externalLocal), slice("web", "8080", "c", "d")}, ask{
			{"pod > web:80", "dropped"},
			{"outside > node:30000", "dropped"},
			{"pod > node:30000", "c d kept"},
			{"node > node:30000", "c d masqueraded"},
		}),
	},
}

// externalLocalCases are about externalTrafficPolicy: Local.
var externalLocalCases = []Case{
	{
		Name: "external Local: at a node port outsiders get endpoints of this node alone, pods and the node itself all",
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "b", "c")}, ask{
			{"outside > node:30000", "a b kept"},
			{"pod > node:30000", "a b c kept"},
			{"far > node:30000", "a b c kept"},
			{"node > node:30000", "a b c masqueraded"},
			{"pod > gateway:30000", "a b c kept"},
		}),
	},
	{
		Name: "external Local: at an external IP outsiders get endpoints of this node alone, pods and the node itself all",
		Steps: one(objects{svc("web", "80", externalLocal, externalIPs("ext1")), slice("web", "8080", "a", "b", "c")}, ask{
			{"outside > ext1:80", "a b kept"},
			{"pod > ext1:80", "a b c kept"},
			{"far > ext1:80", "a b c kept"},
			{"node > ext1:80", "a b c masqueraded"},
		}),
	},
	{
		Name: "external Local: at a load balancer's address outsiders get endpoints of this node alone, pods and the node itself all",
		Steps: one(objects{svc("web", "80=30000", externalLocal, balancer("lb1")), slice("web", "8080", "a", "b", "c")}, ask{
			{"outside > lb1:80", "a b kept"},
			{"pod > lb1:80", "a b c kept"},
			{"far > lb1:80", "a b c kept"},
			{"node > lb1:80", "a b c masqueraded"},
		}),
	},
	{
		Name: "external Local over UDP",
		Steps: one(objects{svc("web", "53/UDP=30000", externalLocal, externalIPs("ext1"), balancer("lb1")), slice("web", "8080/UDP", "a", "b", "c")}, append(
			each("outside > node:30000/udp, outside > ext1:53/udp, outside > lb1:53/udp", "a b kept"),
			each("pod > node:30000/udp, pod > ext1:53/udp, pod > lb1:53/udp", "a b c kept")...)),
	},
	{
		Name: "external Local: without an endpoint here a node port drops outsiders, while pods and the node itself get through",
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "c", "d")}, ask{
			{"outside > node:30000", "dropped"},
			{"pod > node:30000", "c d kept"},
			{"far > node:30000", "c d kept"},
			{"node > node:30000", "c d masqueraded"},
		}),
	},
	{
		Name: "external Local: without an endpoint here an external IP drops outsiders, while pods and the node itself get through",
		Steps: one(objects{svc("web", "80", externalLocal, externalIPs("ext1")), slice("web", "8080", "c", "d")}, ask{
			{"outside > ext1:80", "dropped"},
			{"pod > ext1:80", "c d kept"},
			{"node > ext1:80", "c d masqueraded"},
		}),
	},
	{
		Name: "external Local: without an endpoint here a load balancer's address drops outsiders, while pods and the node itself get through",
		Steps: one(objects{svc("web", "53/UDP=30000", externalLocal, balancer("lb1")), slice("web", "8080/UDP", "c", "d")}, ask{
			{"outside > lb1:53/udp", "dropped"},
			{"outside > node:30000/udp", "dropped"},
			{"pod > lb1:53/udp", "c d kept"},
			{"node > lb1:53/udp", "c d masqueraded"},
		}),
	},
	{
		Name: "external Local: without any endpoint everybody is refused",
		Steps: one(objects{svc("web", "80=30000", externalLocal, externalIPs("ext1"), balancer("lb1"))},
			each("outside > node:30000, pod > node:30000, node > node:30000, outside > ext1:80, pod > ext1:80, node > ext1:80, "+
				"outside > lb1:80, pod > lb1:80, node > lb1:80, pod > web:80", "refused")),
	},
	{
		Name: "external Local: endpoints of this node alone serve everybody",
		Steps: one(objects{svc("web", "80=30000", externalLocal, balancer("lb1")), slice("web", "8080", "a", "b")}, ask{
			{"outside > node:30000", "a b kept"},
			{"outside > lb1:80", "a b kept"},
			{"pod > node:30000", "a b kept"},
			{"far > node:30000", "a b kept"},
			{"node > node:30000", "a b masqueraded"},
		}),
	},
	{
		Name: "external Local: the cluster IP still leads to all endpoints",
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "c", "d")}, ask{
			{"pod > web:80", "a c d kept"},
			{"node > web:80", "a c d masqueraded"},
			{"outside > web:80", "a c d masqueraded"},
		}),
	},
	{
		Name: "external Local: a pod that reaches itself is masqueraded",
		Steps: one(objects{svc("web", "80=30000", externalLocal, externalIPs("ext1")), slice("web", "8080", "a", "b", "c")},
			each("a > node:30000, a > ext1:80", "a masqueraded, b c kept")),
	},
	{
		Name: "external Local: each port has endpoints of its own",
		Steps: one(objects{
			svc("web", "http:80=30000 admin:81=30001 none:82=30002", externalLocal),
			slice("web", "http:8080", "a", "c"), slice("web/2", "admin:9090", "c"),
		}, ask{
			{"outside > node:30000", "a kept"},
			{"outside > node:30001", "dropped"},
			{"outside > node:30002", "refused"},
			{"pod > node:30001", "c:9090 kept"},
		}),
	},
}
