package cases

// topologyCases are about hints. node1 is in the zone "here".
var topologyCases = []Case{
	{
		Name: "zone hints keep traffic in the zone of this node, on every way in",
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1")), slice("web", "8080", "a zones=there", "b zones=here", "c zones=here", "d zones=there")}, ask{
			{"pod > web:80", "b c kept"},
			{"node > web:80", "b c masqueraded"},
			{"outside > node:30000", "b c masqueraded"},
			{"outside > ext1:80", "b c masqueraded"},
		}),
	},
	{
		Name: "an endpoint may be hinted for several zones, and the hints may stand in several slices",
		Steps: one(objects{
			svc("web", "80"), slice("web", "8080", "a zones=there,here", "c zones=there"),
			slice("web/2", "8080", "d zones=here,yonder", "b zones=yonder,there"),
		}, ask{{"pod > web:80", "a d kept"}}),
	},
	{
		Name: "one ready endpoint without a zone hint switches zone hints off",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a zones=here", "c zones=there"), slice("web/2", "8080", "d")},
			ask{{"pod > web:80", "a c d kept"}}),
	},
	{
		Name: "an endpoint that is not ready does not switch zone hints off",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a zones=here", "b !ready", "c zones=there", "d !ready terminating")},
			ask{{"pod > web:80", "a kept"}}),
	},
	{
		Name: "zone hints for other zones alone do not matter",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a zones=there", "c zones=yonder")},
			ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name: "the endpoints hinted for this zone are not ready: all that are count",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a !ready zones=here", "b zones=there", "c zones=there")},
			ask{{"pod > web:80", "b c kept"}}),
	},
	{
		Name:  "a node without a zone does not look at zone hints",
		Flags: Flags{NoZone: true},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a zones=here", "c zones=there")},
			ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name:  "a node without a zone looks at node hints",
		Flags: Flags{NoZone: true},
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nodes=node1 zones=here", "c nodes=node2 zones=there")},
			ask{{"pod > web:80", "a kept"}}),
	},
	{
		Name: "node hints keep traffic on this node",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a nodes=node1", "b nodes=node1,node2", "c nodes=node2")}, ask{
			{"pod > web:80", "a b kept"},
			{"outside > node:30000", "a b masqueraded"},
		}),
	},
	{
		Name: "a node hint counts, not where the endpoint is",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nodes=node2", "c nodes=node1")},
			ask{{"pod > web:80", "c kept"}}),
	},
	{
		Name: "node hints go before zone hints",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nodes=node1 zones=there", "b nodes=node2 zones=here", "c nodes=node2 zones=here")},
			ask{{"pod > web:80", "a kept"}}),
	},
	{
		Name: "one ready endpoint without a node hint leaves the choice to zone hints",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nodes=node1 zones=there", "b zones=here", "c nodes=node2 zones=here")},
			ask{{"pod > web:80", "b c kept"}}),
	},
	{
		Name: "node hints for other nodes alone leave the choice to zone hints",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a nodes=node2 zones=there", "b nodes=node3 zones=here", "c nodes=node2 zones=here")},
			ask{{"pod > web:80", "b c kept"}}),
	},
	{
		Name: "the local policies do not look at hints, the other ways of the same Service do",
		Steps: one(objects{bothLocal, slice("web", "8080", "a zones=there", "b zones=here", "c zones=here", "d zones=there")}, ask{
			{"pod > web:80", "a b kept"},
			{"outside > node:30000", "a b kept"},
			{"pod > node:30000", "b c kept"},
			{"node > node:30000", "b c masqueraded"},
		}),
	},
	{
		Name: "terminating endpoints that stand in for ready ones are not chosen by hints",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a !ready terminating zones=here nodes=node1", "c !ready terminating zones=there nodes=node2")},
			ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name: "hints come and go",
		Steps: []Step{
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:80", "a c kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a zones=here", "c zones=there")}, Ask: ask{{"pod > web:80", "a kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a zones=there", "c zones=here")}, Ask: ask{{"pod > web:80", "c kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a zones=there", "c zones=here", "d")}, Ask: ask{{"pod > web:80", "a c d kept"}}},
		},
	},
}
