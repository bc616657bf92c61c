package cases

import "time"

// hour is longer than any trial takes.
const hour = time.Hour

var affinityCases = []Case{
	{
		Name: "with affinity a client stays with one endpoint, on every way in",
		Steps: one(objects{svc("web", "80=30000", affinity(hour), externalIPs("ext1"), balancer("lb1")), slice("web", "8080", "a", "b", "c", "d")}, ask{
			{"pod > web:80", "a b c d kept, stays"},
			{"node > web:80", "a b c d masqueraded, stays"},
			{"outside > node:30000", "a b c d masqueraded, stays"},
			{"pod > node:30000", "a b c d masqueraded, stays"},
			{"outside > ext1:80", "a b c d masqueraded, stays"},
			{"outside > lb1:80", "a b c d masqueraded, stays"},
		}),
	},
	{
		Name: "with affinity a client stays with one endpoint over UDP",
		Steps: one(objects{svc("web", "53/UDP", affinity(hour)), slice("web", "8080/UDP", "a", "b", "c")},
			ask{{"pod > web:53/udp", "a b c kept, stays"}}),
	},
	{
		Name: "with affinity many clients are spread over all endpoints, and each stays",
		Steps: one(objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a", "b", "c")},
			ask{{"crowd > web:80", "a b c kept, stays"}}),
	},
	{
		Name: "without affinity many clients and one client are spread alike",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "b", "c")},
			each("crowd > web:80, pod > web:80", "a b c kept")),
	},
	{
		Name: "a client stays when other endpoints come, on every way into the port",
		Steps: []Step{
			{
				Objects: objects{svc("web", "80=30000", affinity(hour), externalIPs("ext1"), balancer("lb1")), slice("web", "8080", "b")},
				Ask:     ask{{"outside > web:80", "b masqueraded, stays with b"}, {"pod > node:30000", "b masqueraded, stays with b"}},
			},
			{
				Objects: objects{svc("web", "80=30000", affinity(hour), externalIPs("ext1"), balancer("lb1")), slice("web", "8080", "a", "b", "c", "d")},
				Ask: append(each("outside > web:80, outside > node:30000, outside > ext1:80, outside > lb1:80, pod > ext1:80", "a b c d masqueraded, stays with b"),
					Question{"pod > web:80", "a b c d kept, stays with b"}),
			},
		},
	},
	{
		Name: "the ports of a Service each have their own affinity",
		Steps: []Step{
			{
				Objects: objects{svc("web", "http:80 admin:81", affinity(hour)), slice("web", "http:8080", "a"), slice("web/2", "admin:8080", "c")},
				Ask:     ask{{"pod > web:80", "a kept, stays with a"}, {"pod > web:81", "c kept, stays with c"}},
			},
			{
				Objects: objects{svc("web", "http:80 admin:81", affinity(hour)), slice("web", "http:8080", "a", "b", "c"), slice("web/2", "admin:8080", "a", "b", "c")},
				Ask:     ask{{"pod > web:80", "a b c kept, stays with a"}, {"pod > web:81", "a b c kept, stays with c"}},
			},
		},
	},
	{
		Name: "two Services over the same pods each have their own affinity",
		Steps: []Step{
			{
				Objects: objects{svc("web", "80", affinity(hour)), svc("api", "80", affinity(hour)), slice("web", "8080", "a"), slice("api", "8080", "c")},
				Ask:     ask{{"pod > web:80", "a kept, stays with a"}, {"pod > api:80", "c kept, stays with c"}},
			},
			{
				Objects: objects{svc("web", "80", affinity(hour)), svc("api", "80", affinity(hour)), slice("web", "8080", "a", "b", "c"), slice("api", "8080", "a", "b", "c")},
				Ask:     ask{{"pod > web:80", "a b c kept, stays with a"}, {"pod > api:80", "a b c kept, stays with c"}},
			},
		},
	},
	{
		Name: "a client whose endpoint has gone gets another one, and stays there when the first one is back",
		Steps: []Step{
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a")}, Ask: ask{{"pod > web:80", "a kept, stays with a"}}},
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a !ready", "c")}, Ask: ask{{"pod > web:80", "c kept, stays with c"}}},
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:80", "a c kept, stays with c"}}},
		},
	},
	{
		Name: "a client whose endpoint has gone gets any of the others, and stays there",
		Steps: []Step{
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a")}, Ask: ask{{"crowd > web:80", "a kept, stays with a"}}},
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "b", "c")}, Ask: ask{{"crowd > web:80", "b c kept, stays"}}},
		},
	},
	{
		Name: "a client that kept away for longer than the timeout may get any endpoint",
		Steps: []Step{
			{Objects: objects{svc("web", "80", affinity(2*time.Second)), slice("web", "8080", "a")}, Ask: ask{{"crowd > web:80", "a kept, stays with a"}}},
			{Objects: objects{svc("web", "80", affinity(2*time.Second)), slice("web", "8080", "a", "c")}, Pause: 4 * time.Second, Ask: ask{{"crowd > web:80", "a c kept"}}},
		},
	},
	{
		Name: "affinity comes and goes",
		Steps: []Step{
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "b", "c")}, Ask: ask{{"pod > web:80", "a b c kept"}}},
			{Objects: objects{svc("web", "80", affinity(hour)), slice("web", "8080", "a", "b", "c")}, Ask: ask{{"pod > web:80", "a b c kept, stays"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "b", "c")}, Ask: ask{{"pod > web:80", "a b c kept"}}},
		},
	},
	{
		Name: "affinity keeps to the local policy",
		Steps: []Step{
			{
				Objects: objects{svc("web", "80=30000", affinity(hour), internalLocal, externalLocal), slice("web", "8080", "b", "c")},
				Ask:     ask{{"pod > web:80", "b kept, stays with b"}, {"outside > node:30000", "b kept, stays with b"}},
			},
			{
				Objects: objects{svc("web", "80=30000", affinity(hour), internalLocal, externalLocal), slice("web", "8080", "a", "b", "c")},
				Ask: ask{
					{"pod > web:80", "a b kept, stays with b"},
					{"outside > node:30000", "a b kept, stays with b"},
					{"pod > node:30000", "a b c kept, stays with b"},
				},
			},
		},
	},
	{
		Name: "affinity holds behind source ranges",
		Steps: one(objects{svc("web", "80", affinity(hour), balancer("lb1"), sourceRanges("outside")), slice("web", "8080", "a", "b", "c")}, ask{
			{"outside > lb1:80", "a b c masqueraded, stays"},
			{"pod > lb1:80", "dropped"},
		}),
	},
	{
		Name: "affinity to one of forty endpoints",
		Steps: one(objects{svc("web", "53/UDP", affinity(hour)), slice("web", "8080/UDP", many()...)},
			ask{{"pod > web:53/udp", manyWords + " kept, stays"}}),
	},
}
