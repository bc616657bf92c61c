package cases

var sourceRangeCases = []Case{
	{
		Name: "clients in a source range get in, others are dropped",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("outside")), slice("web", "8080", "a", "c")}, ask{
			{"outside > lb1:80", "a c masqueraded"},
			{"pod > lb1:80", "dropped"},
			{"far > lb1:80", "dropped"},
			{"node > lb1:80", "dropped"},
		}),
	},
	{
		Name: "source ranges hold for UDP and for every address of the load balancer",
		Steps: one(objects{svc("web", "53/UDP", balancer("lb1", "lb2"), sourceRanges("outside")), slice("web", "8080/UDP", "a", "c")}, append(
			each("outside > lb1:53/udp, outside > lb2:53/udp", "a c masqueraded"),
			each("pod > lb1:53/udp, pod > lb2:53/udp", "dropped")...)),
	},
	{
		Name: "source ranges do not hold for cluster IPs, node ports and external IPs",
		Steps: one(objects{svc("web", "80=30000", balancer("lb1"), externalIPs("ext1"), sourceRanges("elsewhere")), slice("web", "8080", "a", "c")}, ask{
			{"outside > lb1:80", "dropped"},
			{"pod > web:80", "a c kept"},
			{"outside > node:30000", "a c masqueraded"},
			{"outside > ext1:80", "a c masqueraded"},
		}),
	},
	{
		Name: "source ranges hold for a load balancer's address that is an external IP of the same Service too",
		Steps: one(objects{svc("web", "80", balancer("lb1"), externalIPs("lb1"), sourceRanges("outside")), slice("web", "8080", "a", "c")}, ask{
			{"outside > lb1:80", "a c masqueraded"},
			{"pod > lb1:80", "dropped"},
		}),
		Differs: "kube-proxy admits everybody, as it does to an external IP",
	},
	{
		Name: "a client may be in any of several source ranges",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("elsewhere", "pods", "outside")), slice("web", "8080", "a", "c")}, append(
			each("outside > lb1:80, pod > lb1:80, far > lb1:80", "a c masqueraded"), Question{"node > lb1:80", "dropped"})),
	},
	{
		Name: "blanks around a source range do not matter",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges(" elsewhere", "  outside ")), slice("web", "8080", "a", "c")}, ask{
			{"outside > lb1:80", "a c masqueraded"},
			{"pod > lb1:80", "dropped"},
		}),
	},
	{
		Name: "a source range of all addresses admits everybody, whatever stands beside it",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("elsewhere", "everybody")), slice("web", "8080", "a", "c")},
			each("outside > lb1:80, pod > lb1:80, node > lb1:80", "a c masqueraded")),
	},
	{
		Name: "source ranges of the other family alone admit nobody",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("other-family")), slice("web", "8080", "a", "c")},
			each("outside > lb1:80, pod > lb1:80, node > lb1:80", "dropped")),
		Differs: "kube-proxy does not filter a family that no range is of",
	},
	{
		Name: "a source range that cannot be read admits nobody, and does not spoil the others",
		Steps: one(objects{
			svc("web", "80", balancer("lb1"), sourceRanges("nonsense", "outside")), slice("web", "8080", "a", "c"),
			svc("api", "80", balancer("lb2"), sourceRanges("nonsense")), slice("api", "8080", "a", "c"),
		}, ask{
			{"outside > lb1:80", "a c masqueraded"},
			{"pod > lb1:80", "dropped"},
			{"outside > lb2:80", "dropped"},
		}),
		Differs: "the API server refuses such a Service",
	},
	{
		Name: "the node itself gets in where a source range has it",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("backbone")), slice("web", "8080", "a", "c")}, append(
			each("node > lb1:80, outside > lb1:80", "a c masqueraded"), Question{"pod > lb1:80", "dropped"})),
	},
	{
		Name: "a client in a source range meets the local policy like everybody",
		Steps: one(objects{svc("web", "80", balancer("lb1"), externalLocal, sourceRanges("outside", "pod")), slice("web", "8080", "a", "b", "c")}, ask{
			{"outside > lb1:80", "a b kept"},
			{"pod > lb1:80", "a b c kept"},
			{"far > lb1:80", "dropped"},
			{"node > lb1:80", "dropped"},
		}),
	},
	{
		Name: "without an endpoint on this node, the local policy drops outsiders in a source range, and lets pods in it through",
		Steps: one(objects{svc("web", "80", balancer("lb1"), externalLocal, sourceRanges("outside", "pod")), slice("web", "8080", "c", "d")}, ask{
			{"outside > lb1:80", "dropped"},
			{"pod > lb1:80", "c d kept"},
			{"far > lb1:80", "dropped"},
		}),
	},
	{
		Name: "without any endpoint clients in a source range are refused",
		Steps: one(objects{svc("web", "80", balancer("lb1"), sourceRanges("outside"))},
			ask{{"outside > lb1:80", "refused"}}),
	},
	{
		Name: "source ranges come and go",
		Steps: []Step{
			{Objects: objects{svc("web", "80", balancer("lb1")), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > lb1:80", "a c masqueraded"}}},
			{
				Objects: objects{svc("web", "80", balancer("lb1"), sourceRanges("outside")), slice("web", "8080", "a", "c")},
				Ask:     ask{{"pod > lb1:80", "dropped"}, {"outside > lb1:80", "a c masqueraded"}},
			},
			{
				Objects: objects{svc("web", "80", balancer("lb1"), sourceRanges("pods")), slice("web", "8080", "a", "c")},
				Ask:     ask{{"pod > lb1:80", "a c masqueraded"}, {"outside > lb1:80", "dropped"}},
			},
			{Objects: objects{svc("web", "80", balancer("lb1")), slice("web", "8080", "a", "c")}, Ask: each("pod > lb1:80, outside > lb1:80", "a c masqueraded")},
		},
	},
}
