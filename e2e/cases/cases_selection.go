package cases

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// selectionCases say whose Services are served.
var selectionCases = []Case{
	{
		Name: "a Service that names another proxy is left alone, on every way in",
		Steps: one(objects{svc("web", "80=30000", externalIPs("ext1"), label(service.LabelProxyName, "other")), slice("web", "8080", "a")},
			each("pod > web:80, outside > node:30000, outside > ext1:80, node > web:80", "passed")),
	},
	{
		Name: "a Service that names another proxy is left alone even if the name is empty",
		Steps: one(objects{svc("web", "80=30000", label(service.LabelProxyName, "")), slice("web", "8080", "a")},
			each("pod > web:80, outside > node:30000", "passed")),
	},
	{
		Name: "the label that names another proxy takes effect when it comes and when it goes",
		Steps: []Step{
			{Objects: objects{svc("web", "80=30000"), slice("web", "8080", "a")}, Ask: ask{{"pod > web:80", "a kept"}}},
			{
				Objects: objects{svc("web", "80=30000", label(service.LabelProxyName, "other")), slice("web", "8080", "a")},
				Ask:     each("pod > web:80, outside > node:30000", "passed"),
			},
			{
				Objects: objects{svc("web", "80=30000"), slice("web", "8080", "a")},
				Ask:     ask{{"pod > web:80", "a kept"}, {"outside > node:30000", "a masqueraded"}},
			},
		},
	},
	{
		Name: "a headless Service has no address to answer on, not even an external IP",
		Steps: one(objects{svc("web", "80", clusterIP(corev1.ClusterIPNone), externalIPs("ext1")), slice("web", "8080", "a")},
			each("pod > web:80, outside > ext1:80", "passed")),
	},
	{
		Name: "an ExternalName Service has no address to answer on, not even an external IP",
		Steps: one(objects{svc("web", "80", ofType(corev1.ServiceTypeExternalName), externalIPs("ext1")), slice("web", "8080", "a")},
			each("pod > web:80, outside > ext1:80", "passed")),
	},
	{
		Name: "endpoints that nobody listed for a Service do nothing",
		Steps: one(objects{svc("web", "80"), slice("web", "8080", "a"), slice("api", "8080", "b")}, ask{
			{"pod > web:80", "a kept"},
			{"pod > api:80", "passed"},
		}),
	},
	{
		Name: "endpoints that came before their Service are found when it comes",
		Steps: []Step{
			{Objects: objects{slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:80", "passed"}}},
			{Objects: objects{svc("web", "80"), slice("web", "8080", "a", "c")}, Ask: ask{{"pod > web:80", "a c kept"}}},
		},
	},
}
