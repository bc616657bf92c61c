package cases

// Both policies: every set of endpoints that there is.
var bothLocal = svc("web", "80=30000", internalLocal, externalLocal)

// readinessCases are about the conditions of endpoints.
var readinessCases = []Case{
	{
		Name: "an endpoint counts unless it says that it is not ready",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b ready", "c !ready", "d ready serving")},
			ask{{"pod > web:80", "a b d kept"}}),
	},
	{
		Name: "an endpoint that is neither ready nor terminating never counts, even if it is the only one",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a !ready", "c !ready serving")},
			each("pod > web:80, outside > node:30000", "refused")),
	},
	{
		Name:  "an endpoint that is ready counts though it terminates: its Service publishes addresses that are not ready",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a ready terminating", "c")}, ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name: "a terminating endpoint gets nothing while there is a ready one",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a !ready serving terminating", "b", "c !ready terminating")}, ask{
			{"pod > web:80", "b kept"},
			{"outside > node:30000", "b masqueraded"},
		}),
	},
	{
		Name: "without a ready endpoint those that serve while they terminate get everything",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a !ready serving terminating", "b !ready", "c !ready terminating")}, ask{
			{"pod > web:80", "a c kept"},
			{"outside > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name: "an endpoint that does not serve while it terminates never counts",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080", "a !ready !serving terminating", "c !ready !serving terminating")},
			each("pod > web:80, outside > node:30000", "refused")),
	},
	{
		Name: "among terminating endpoints only those that serve count",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a !ready !serving terminating", "c !ready serving terminating")},
			ask{{"pod > web:80", "c kept"}}),
	},
	{
		Name: "ready here and ready elsewhere: all counts as ever",
		Steps: one(objects{bothLocal, slice("web", "8080", "a", "b !ready terminating", "c", "d !ready terminating")}, ask{
			{"pod > web:80", "a kept"},
			{"outside > node:30000", "a kept"},
			{"pod > node:30000", "a c kept"},
		}),
	},
	{
		Name: "terminating here and ready elsewhere: the local policies use the one here, all others the one elsewhere",
		Steps: one(objects{bothLocal, slice("web", "8080", "a !ready terminating", "c")}, ask{
			{"pod > web:80", "a kept"},
			{"outside > node:30000", "a kept"},
			{"pod > node:30000", "c kept"},
			{"node > node:30000", "c masqueraded"},
		}),
	},
	{
		Name: "ready here and terminating elsewhere: everybody uses the one here",
		Steps: one(objects{bothLocal, slice("web", "8080", "a", "c !ready terminating")}, ask{
			{"pod > web:80", "a kept"},
			{"outside > node:30000", "a kept"},
			{"pod > node:30000", "a kept"},
			{"node > node:30000", "a masqueraded"},
		}),
	},
	{
		Name: "terminating here and terminating elsewhere: the local policies use the one here, all others both",
		Steps: one(objects{bothLocal, slice("web", "8080", "a !ready terminating", "c !ready terminating")}, ask{
			{"pod > web:80", "a kept"},
			{"outside > node:30000", "a kept"},
			{"pod > node:30000", "a c kept"},
			{"node > node:30000", "a c masqueraded"},
		}),
	},
	{
		Name: "none here and terminating elsewhere: the local policies drop",
		Steps: one(objects{bothLocal, slice("web", "8080", "a !ready !serving terminating", "c !ready terminating")}, ask{
			{"pod > web:80", "dropped"},
			{"outside > node:30000", "dropped"},
			{"pod > node:30000", "c kept"},
		}),
	},
	{
		Name: "endpoints here and elsewhere of which none counts are none: refused, not dropped",
		Steps: one(objects{bothLocal, slice("web", "8080", "a !ready", "c !ready !serving terminating", "d !ready")},
			each("pod > web:80, outside > node:30000, pod > node:30000, node > node:30000", "refused")),
	},
	{
		Name: "readiness comes and goes, and termination ends",
		Steps: []Step{
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a !ready", "c")}, Ask: ask{{"pod > web:80", "c kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:80", "a c kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "c !ready terminating")}, Ask: ask{{"pod > web:80", "a kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a !ready", "c !ready terminating")}, Ask: ask{{"pod > web:80", "c kept"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a !ready", "c !ready !serving terminating")}, Ask: ask{{"pod > web:80", "refused"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a")}, Ask: ask{{"pod > web:80", "a kept"}}},
		},
	},
}
