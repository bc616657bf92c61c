package cases

var masqueradeCases = []Case{
	{
		Name:  "a pod that reaches itself through a cluster IP is masqueraded, and only then",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b", "c")}, ask{{"a > web:80", "a masqueraded, b c kept"}}),
	},
	{
		Name:  "a pod that is the only endpoint reaches itself through a cluster IP",
		Steps: one(objects{svc("web", "80 dns:53/UDP"), slice("web", "8080 dns:8080/UDP", "a")}, each("a > web:80, a > web:53/udp", "a masqueraded")),
	},
	{
		Name: "a pod that reaches itself on another port of its own is masqueraded too",
		Steps: one(objects{svc("web", "80"), slice("web", "9090", "a", "b")},
			ask{{"a > web:80", "a:9090 masqueraded, b:9090 kept"}}),
	},
	{
		Name: "a pod that reaches itself through a node port or an external IP is masqueraded like everybody there",
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1"), balancer("lb1")), slice("web", "8080", "a", "c")},
			each("a > node:30000, a > ext1:80, a > lb1:80", "a c masqueraded")),
	},
	{
		Name: "a pod of which no slice says where it is reaches itself",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nowhere", "c nowhere")}, ask{
			{"a > web:80", "a masqueraded, c kept"},
			{"pod > web:80", "a c kept"},
		}),
	},
	{
		Name:  "with masquerade-all pods are masqueraded through a cluster IP",
		Flags: Flags{MasqueradeAll: true},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "c")},
			each("pod > web:80, far > web:80, node > web:80, outside > web:80, a > web:80", "a c masqueraded")),
	},
	{
		Name:  "with masquerade-all the local policy for outsiders still keeps their address",
		Flags: Flags{MasqueradeAll: true},
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "c")}, ask{
			{"outside > node:30000", "a kept"},
			{"pod > node:30000", "a c kept"},
			{"node > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name:  "with masquerade-all the local policy for pods masquerades them",
		Flags: Flags{MasqueradeAll: true},
		Steps: one(objects{svc("web", "80", internalLocal), slice("web", "8080", "a", "b", "c")}, ask{{"pod > web:80", "a b masqueraded"}}),
	},
	{
		Name:  "without a pod range nobody is masqueraded through a cluster IP but a pod that reaches itself",
		Flags: Flags{NoPodRange: true},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b")}, ask{
			{"pod > web:80", "a b kept"},
			{"outside > web:80", "a b kept"},
			{"far > web:80", "a b kept"},
			{"a > web:80", "a masqueraded, b kept"},
		}),
	},
	{
		Name:  "without a pod range node ports and external IPs masquerade as ever",
		Flags: Flags{NoPodRange: true},
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1")), slice("web", "8080", "a", "c")},
			each("outside > node:30000, pod > node:30000, outside > ext1:80, node > node:30000", "a c masqueraded")),
	},
	{
		Name:  "without a pod range the local policy takes pods for outsiders, but not the node itself",
		Flags: Flags{NoPodRange: true},
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "b", "c")}, ask{
			{"pod > node:30000", "a b kept"},
			{"outside > node:30000", "a b kept"},
			{"node > node:30000", "a b c masqueraded"},
			{"a > node:30000", "a masqueraded, b kept"},
		}),
	},
	{
		Name:  "pods told by the beginning of their interface's name keep their address, others do not",
		Flags: Flags{PodInterfacePrefix: "veth"},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b", "c")}, ask{
			{"pod > web:80", "a b c kept"},
			{"far > web:80", "a b c masqueraded"},
			{"outside > web:80", "a b c masqueraded"},
			{"node > web:80", "a b c masqueraded"},
			{"a > web:80", "a masqueraded, b c kept"},
		}),
	},
	{
		Name:  "pods told by the beginning of their interface's name pass the local policy",
		Flags: Flags{PodInterfacePrefix: "veth"},
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "b", "c")}, ask{
			{"pod > node:30000", "a b c kept"},
			{"far > node:30000", "a b kept"},
			{"outside > node:30000", "a b kept"},
			{"node > node:30000", "a b c masqueraded"},
		}),
	},
	{
		Name:  "pods told by one interface keep their address, others do not",
		Flags: Flags{PodInterface: "veth4"},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "b", "c")}, ask{
			{"pod > web:80", "b c kept"},
			{"a > web:80", "b c masqueraded"},
			{"outside > web:80", "b c masqueraded"},
			{"node > web:80", "b c masqueraded"},
		}),
	},
	{
		Name:  "pods told by one interface pass the local policy",
		Flags: Flags{PodInterface: "veth4"},
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "b", "c")}, ask{
			{"pod > node:30000", "b c kept"},
			{"a > node:30000", "b kept"},
			{"outside > node:30000", "b kept"},
		}),
	},
	{
		Name:  "pods told by the own Node's range keep their address, pods of other nodes do not",
		Flags: Flags{NodeCIDR: true},
		Steps: one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "b", "c")}, ask{
			{"pod > web:80", "a b c kept"},
			{"far > web:80", "a b c masqueraded"},
			{"outside > web:80", "a b c masqueraded"},
			{"pod > node:30000", "a b c kept"},
			{"far > node:30000", "a b kept"},
		}),
	},
}
