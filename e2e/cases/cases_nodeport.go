package cases

import "github.com/fairlead/fairlead/pkg/service"

var nodePortCases = []Case{
	{
		Name: "a node port leads to every endpoint, and everybody is masqueraded",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "b", "c", "d")},
			each("outside > node:30000, pod > node:30000, far > node:30000, node > node:30000", "a b c d masqueraded")),
	},
	{
		Name: "a node port answers on every address of the node",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")},
			each("pod > gateway:30000, outside > gateway:30000, node > gateway:30000", "a c masqueraded")),
	},
	{
		Name: "a node port does not answer for other nodes, nor on virtual IPs",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a")},
			each("pod > node2:30000, node > node2:30000, pod > web:30000, outside > ext1:30000, pod > b:30000", "passed")),
	},
	{
		Name: "a node port has one protocol",
		Steps: one(objects{svc("web", "80=30000"), svc("api", "53/UDP=30001"), slice("web", "8080", "a"), slice("api", "8080/UDP", "a")}, ask{
			{"outside > node:30000", "a masqueraded"},
			{"outside > node:30001/udp", "a masqueraded"},
			{"outside > node:30000/udp", "passed"},
			{"outside > node:30001", "passed"},
		}),
	},
	{
		Name: "two Services may have one node port for different protocols",
		Steps: one(objects{svc("web", "53=30000"), svc("api", "53/UDP=30000"), slice("web", "8080", "a"), slice("api", "9090/UDP", "c")}, ask{
			{"outside > node:30000", "a masqueraded"},
			{"outside > node:30000/udp", "c:9090 masqueraded"},
		}),
	},
	{
		Name: "each of several ports has its own node port",
		Steps: one(objects{svc("web", "http:80=30000 admin:81=30001 inner:82"), slice("web", "http:8080 admin:9090 inner:8080", "a", "c")}, ask{
			{"outside > node:30000", "a c masqueraded"},
			{"outside > node:30001", "a:9090 c:9090 masqueraded"},
			{"outside > node:30002", "passed"},
			{"pod > web:82", "a c kept"},
		}),
	},
	{
		Name: "a node port reaches each of forty endpoints of another node",
		Steps: one(objects{svc("web", "53/UDP=30000"), slice("web", "8080/UDP", many()...)},
			ask{{"outside > node:30000/udp", manyWords + " masqueraded"}}),
	},
}

// On one address, and on all: the two ways to say where node ports answer.
var (
	byRange   = Flags{NodePortAddresses: "172.30.0.0/24,fd00:30::/64"}
	byPrimary = Flags{NodePortAddresses: "primary"}
)

var nodePortAddressCases = []Case{
	{
		Name:  "node ports answer on the addresses in the ranges of --nodeport-addresses alone",
		Flags: byRange,
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")}, ask{
			{"outside > node:30000", "a c masqueraded"},
			{"node > node:30000", "a c masqueraded"},
			{"pod > gateway:30000", "passed"},
			{"node > gateway:30000", "passed"},
			{"node > localhost:30000", "passed"},
		}),
	},
	{
		Name:  "node ports are refused on the addresses in the ranges of --nodeport-addresses alone",
		Flags: byRange,
		Steps: one(objects{svc("web", "80=30000"), svc("api", "80=30001", externalLocal), slice("api", "8080", "c")}, ask{
			{"outside > node:30000", "refused"},
			{"pod > gateway:30000", "passed"},
			{"outside > node:30001", "dropped"},
			{"outside > gateway:30001", "passed"},
		}),
	},
	{
		Name:  "virtual IPs do not care about --nodeport-addresses",
		Flags: byRange,
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1", "gateway")), slice("web", "8080", "a", "c")}, ask{
			{"pod > web:80", "a c kept"},
			{"outside > ext1:80", "a c masqueraded"},
		}),
	},
	{
		Name:  "node ports answer on the primary address alone where --nodeport-addresses says so",
		Flags: byPrimary,
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")}, ask{
			{"outside > node:30000", "a c masqueraded"},
			{"pod > gateway:30000", "passed"},
			{"node > localhost:30000", "passed"},
		}),
	},
	{
		Name:  "a family that --nodeport-addresses does not name is not restricted",
		Flags: Flags{NodePortAddresses: "192.0.2.0/24"}, Family: service.IPv6,
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")},
			each("outside > node:30000, pod > gateway:30000", "a c masqueraded")),
	},
	{
		Name:  "no address of the node is in the ranges of --nodeport-addresses: node ports are closed",
		Flags: Flags{NodePortAddresses: "192.0.2.0/24"}, Family: service.IPv4,
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")},
			each("outside > node:30000, pod > gateway:30000, node > localhost:30000", "passed")),
	},
}

var localhostCases = []Case{
	{
		Name:   "a node port answers on localhost to the node itself",
		Family: service.IPv4,
		Steps: one(objects{svc("web", "80=30000 dns:53/UDP=30001"), slice("web", "8080 dns:8080/UDP", "a", "c")},
			each("node > localhost:30000, node > localhost:30001/udp", "a c masqueraded")),
	},
	{
		Name:   "a node port on localhost with the local policy leads the node to all endpoints",
		Family: service.IPv4,
		Steps:  one(objects{svc("web", "80=30000", externalLocal), slice("web", "8080", "a", "c")}, ask{{"node > localhost:30000", "a c masqueraded"}}),
	},
	{
		Name:   "a node port without endpoints is refused on localhost",
		Family: service.IPv4,
		Steps:  one(objects{svc("web", "80=30000")}, ask{{"node > localhost:30000", "refused"}}),
	},
	{
		Name:   "the node's own servers on localhost stay its own: a neighbor is dropped, the node itself is not",
		Family: service.IPv4,
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a")}, ask{
			{"node2 > localhost:30001", "dropped"},
			{"node2 > localhost:30001/udp", "dropped"},
			{"node > localhost:30001", "passed"},
			{"pod > node:30001", "passed"},
		}),
	},
	{
		Name:   "a node port on localhost is for the node itself: a neighbor is dropped",
		Family: service.IPv4,
		Steps: one(objects{svc("web", "80=30000"), svc("api", "80=30001"), slice("web", "8080", "a")},
			each("node2 > localhost:30000, node2 > localhost:30001", "dropped")),
		Differs: "kube-proxy sends a neighbor's packets for localhost to the endpoints of the node port",
	},
	{
		Name:   "IPv6 has no node ports on localhost",
		Family: service.IPv6,
		Steps:  one(objects{svc("web", "80=30000"), slice("web", "8080", "a")}, ask{{"node > localhost:30000", "passed"}}),
	},
	{
		Name:   "node ports on localhost can be turned off",
		Family: service.IPv4,
		Flags:  Flags{NoLocalhostNodePorts: true},
		Steps: one(objects{svc("web", "80=30000"), svc("api", "80=30001"), slice("web", "8080", "a", "c")}, ask{
			{"node > localhost:30000", "passed"},
			{"node > localhost:30001", "passed"},
			{"node > node:30000", "a c masqueraded"},
			{"outside > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name:   "--nodeport-addresses may name localhost alone",
		Family: service.IPv4,
		Flags:  Flags{NodePortAddresses: "127.0.0.0/8"},
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a", "c")}, ask{
			{"node > localhost:30000", "a c masqueraded"},
			{"outside > node:30000", "passed"},
			{"node > node:30000", "passed"},
		}),
	},
}
