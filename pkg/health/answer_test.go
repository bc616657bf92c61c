package health

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

// said is the body that kube-proxy 1.36 sends for Service shop/web.
func said(local, healthy string) string {
	return "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n" +
		"\t\"localEndpoints\": " + local + ",\n\t\"serviceProxyHealthy\": " + healthy + "\n}"
}

func TestAnswer(t *testing.T) {
	type want struct {
		status       int
		weight, body string
	}
	cases := []struct {
		name    string
		local   int
		healthy func() bool
		want    want
	}{
		{"a node with endpoints takes traffic", 2, func() bool { return true }, want{200, "2", said("2", "true")}},
		{"a node without endpoints turns it away", 0, func() bool { return true }, want{503, "0", said("0", "true")}},
		{"an unhealthy proxy turns it away too", 2, func() bool { return false }, want{503, "2", said("2", "false")}},
		{"an unhealthy proxy without endpoints says both", 0, func() bool { return false }, want{503, "0", said("0", "false")}},
		{"a proxy whose health nobody knows is healthy", 1, nil, want{200, "1", said("1", "true")}},
	}
	for _, family := range families(t) {
		for _, c := range cases {
			t.Run(family.String()+": "+c.name, func(t *testing.T) {
				n := newNode(t, family, Options{Healthy: c.healthy})
				port := n.freePort()
				n.mustSync(checkOf("web", port, c.local))
				got := n.get(port)
				if diff := cmp.Diff(c.want, want{got.status, got.header.Get("X-Load-Balancing-Endpoint-Weight"), got.body},
					cmp.AllowUnexported(want{})); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				for header, value := range map[string]string{
					"Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
				} {
					if got := got.header.Get(header); got != value {
						t.Errorf("%s: %q, want %q", header, got, value)
					}
				}
			})
		}
	}
}

func TestEveryRequestIsAnsweredAlike(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	port := n.freePort()
	n.mustSync(checkOf("web", port, 1))
	for _, c := range []struct{ name, method, path, body string }{
		{"the root", http.MethodGet, "/", ""},
		{"a path", http.MethodGet, "/healthz", ""},
		{"a path that is not clean is not redirected", http.MethodGet, "//a/../b", ""},
		{"a query", http.MethodGet, "/?a=b", ""},
		{"a body", http.MethodPost, "/", strings.Repeat("x", 1000)},
		{"a method nobody knows", "PURGE", "/", ""},
		{"no body where only the head is asked for", http.MethodHead, "/", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := n.ask(c.method, port, c.path, c.body)
			body := said("1", "true")
			if c.method == http.MethodHead {
				body = ""
			}
			if got.status != http.StatusOK || got.body != body || got.header.Get("X-Load-Balancing-Endpoint-Weight") != "1" {
				t.Errorf("answer %d %v %q", got.status, got.header, got.body)
			}
		})
	}
}
