package healthz

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestAnswers(t *testing.T) {
	const none service.Family = 0
	now := metav1.Now()
	tainted := &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "other"}, {Key: toBeDeletedTaint}}}}
	synced := func(h *Health) {
		h.Updated(service.IPv4)
		h.Updated(service.IPv6)
	}
	tests := []struct {
		name                   string
		behind                 service.Family
		do                     func(*Health)
		healthz, livez, readyz int
	}{
		{"before the first sync, healthy but not ready", none, func(*Health) {}, 200, 200, 503},
		{"after the sync of one family of two, not ready", none, func(h *Health) { h.Updated(service.IPv4) }, 200, 200, 503},
		{"after the sync of both families, ready", none, synced, 200, 200, 200},
		{"when one family is behind, unhealthy", service.IPv6, synced, 503, 503, 503},
		{"when a family was never synced, unhealthy", service.IPv6, func(*Health) {}, 503, 503, 503},
		{"with an ordinary Node, healthy", none, func(h *Health) { synced(h); h.SetNode(&corev1.Node{}) }, 200, 200, 200},
		{"without a Node, not eligible", none, func(h *Health) { synced(h); h.SetNode(nil) }, 503, 200, 200},
		{"when the Node is being deleted, not eligible", none, func(h *Health) {
			synced(h)
			h.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}})
		}, 503, 200, 200},
		{"when the autoscaler has tainted the Node, not eligible", none, func(h *Health) { synced(h); h.SetNode(tainted) }, 503, 200, 200},
		{"when the taint is removed, healthy again", none, func(h *Health) { synced(h); h.SetNode(tainted); h.SetNode(&corev1.Node{}) }, 200, 200, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			counted := map[string]int{}
			h := New(Options{
				Families: []service.Family{service.IPv4, service.IPv6},
				Healthy:  func(f service.Family) bool { return test.behind == none || f != test.behind },
				Healthz:  func(status int) { counted["/healthz"] = status },
				Livez:    func(status int) { counted["/livez"] = status },
			})
			test.do(h)
			mux := http.NewServeMux()
			h.Register(mux)
			for path, want := range map[string]int{"/healthz": test.healthz, "/livez": test.livez, "/readyz": test.readyz} {
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != want {
					t.Errorf("%s: status %d, want %d: %s", path, w.Code, want, w.Body)
				}
				if path != "/readyz" && counted[path] != w.Code {
					t.Errorf("%s: counted %d", path, counted[path])
				}
			}
		})
	}
}

// The bodies are those of kube-proxy 1.36 (pkg/proxy/healthcheck/proxy_health.go), with the time of the start as 0m.
func TestBodiesAreKubeProxys(t *testing.T) {
	tests := []struct {
		name           string
		behind         bool // IPv6 is
		node           *corev1.Node
		healthz, livez string
	}{
		{"healthy", false, &corev1.Node{},
			`200 {"lastUpdated":"3m","currentTime":"3m","nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":true}}}`,
			`200 {"lastUpdated":"3m","currentTime":"3m","healthy":true,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":true}}}`},
		{"a family is behind", true, &corev1.Node{},
			`503 {"lastUpdated":"1m","currentTime":"3m","nodeEligible":true,"healthy":false,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":false}}}`,
			`503 {"lastUpdated":"1m","currentTime":"3m","healthy":false,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":false}}}`},
		{"the node is not eligible", false, nil,
			`503 {"lastUpdated":"1m","currentTime":"3m","nodeEligible":false,"healthy":true,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":true}}}`,
			`200 {"lastUpdated":"3m","currentTime":"3m","healthy":true,"status":{"IPv4":{"lastUpdated":"1m","healthy":true},"IPv6":{"lastUpdated":"0m","healthy":true}}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := New(Options{
					Families: []service.Family{service.IPv4, service.IPv6},
					Healthy:  func(f service.Family) bool { return !test.behind || f == service.IPv4 },
				})
				h.SetNode(test.node)
				time.Sleep(time.Minute)
				h.Updated(service.IPv4)
				time.Sleep(2 * time.Minute)
				for path, want := range map[string]string{"/healthz": test.healthz, "/livez": test.livez} {
					if got := answerAt(t, h, path, start); got != want {
						t.Errorf("%s\ngot  %s\nwant %s", path, got, want)
					}
				}
			})
		})
	}
}

func TestReadinessHasTheReasonWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := New(Options{Families: []service.Family{service.IPv4}})
		asks := func(want string) {
			t.Helper()
			if got := answerAt(t, h, "/readyz", start); got != want {
				t.Errorf("\ngot  %s\nwant %s", got, want)
			}
		}
		const status = `"status":{"IPv4":{"lastUpdated":"0m","healthy":true}}`
		h.SetWaiting("waiting: another Fairlead")
		asks(`503 {"lastUpdated":"0m","currentTime":"0m","healthy":false,` + status + `,"reason":"waiting: another Fairlead"}`)
		if got := answerAt(t, h, "/livez", start); !strings.HasPrefix(got, "200 ") || strings.Contains(got, "reason") {
			t.Errorf("a process that waits is alive: %s", got)
		}
		h.SetWaiting("")
		asks(`503 {"lastUpdated":"0m","currentTime":"0m","healthy":false,` + status + `,"reason":"not all rules have been written since the start"}`)
		h.Updated(service.IPv4)
		asks(`200 {"lastUpdated":"0m","currentTime":"0m","healthy":true,` + status + `}`)
	})
}

// answerAt returns the status and the body of an answer, with times in minutes since the start.
func answerAt(t *testing.T, h *Health, path string, start time.Time) string {
	t.Helper()
	mux := http.NewServeMux()
	h.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: headers %v", path, w.Header())
	}
	body := w.Body.String()
	for minute := range 4 {
		at, err := json.Marshal(start.Add(time.Duration(minute) * time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		body = strings.ReplaceAll(body, string(at), fmt.Sprintf(`"%dm"`, minute))
	}
	return fmt.Sprintf("%d %s", w.Code, body)
}
