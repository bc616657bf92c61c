package cases

import discoveryv1 "k8s.io/api/discovery/v1"

// sliceCases are about how endpoints are listed.
var sliceCases = []Case{
	{
		Name: "endpoints of all slices count",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a"), slice("web/2", "8080", "b", "c"), slice("web/3", "8080", "d")},
			ask{{"pod > web:80", "a b c d kept"}}),
	},
	{
		Name: "empty slices do not matter",
		Steps: one(objects{svc("web", "80"), slice("web", "8080"), slice("web/2", "8080", "a", "c"), slice("web/3", "")},
			ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name:  "a Service with empty slices alone is refused",
		Steps: one(objects{svc("web", "80=30000"), slice("web", "8080"), slice("web/2", "")}, each("pod > web:80, outside > node:30000", "refused")),
	},
	{
		Name: "an endpoint that is listed twice counts once",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a", "a", "c"), slice("web/2", "8080", "a", "a")},
			ask{{"pod > web:80", "a c kept"}}),
	},
	{
		Name: "only the first of an endpoint's addresses counts",
		Steps: one(objects{svc("web", "80"), alter(slice("web", "8080", "a"), func(s *discoveryv1.EndpointSlice) {
			s.Endpoints[0].Addresses = []string{"a", "b"}
		})}, ask{{"pod > web:80", "a kept"}}),
	},
	{
		Name: "a slice of names, a slice of no Service and a port without a number give no endpoints",
		Steps: one(objects{
			svc("web", "80"), slice("web", "8080", "a"),
			alter(slice("web/2", "8080"), func(s *discoveryv1.EndpointSlice) {
				s.AddressType = discoveryv1.AddressTypeFQDN
				s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"web.example.com"}}}
			}),
			alter(slice("web/3", "8080", "b"), func(s *discoveryv1.EndpointSlice) { s.Labels = nil }),
			alter(slice("web/4", "8080", "c"), func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = nil }),
		}, ask{{"pod > web:80", "a kept"}}),
	},
	{
		Name: "of an address that a new pod has got, the entry of the new pod counts, whichever slice comes first",
		Steps: one(objects{
			svc("web", "80"),
			slice("web", "8080", "a !ready terminating", "c", "d !ready !serving terminating"),
			slice("web/2", "8080", "a", "c !ready terminating", "d"),
		}, ask{{"pod > web:80", "a c d kept"}}),
	},
	{
		Name: "of an address that is listed for two nodes, the entry of the new pod says where it is",
		Steps: one(objects{
			svc("web", "80", internalLocal),
			alter(slice("web", "8080", "a !ready !serving terminating"), func(s *discoveryv1.EndpointSlice) { *s.Endpoints[0].NodeName = Node2 }),
			slice("web/2", "8080", "a", "c"),
		}, ask{{"pod > web:80", "a kept"}}),
	},
}
