package healthz

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestAnswers(t *testing.T) {
	const none service.Family = 0
	now := metav1.Now()
	tainted := &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "other"}, {Key: beingDeleted}}}}
	written := func(h *Health) {
		h.Updated(service.IPv4)
		h.Updated(service.IPv6)
	}
	tests := []struct {
		name                   string
		behind                 service.Family
		do                     func(*Health)
		healthz, livez, readyz int
	}{
		{"before the first sync, well but not ready", none, func(*Health) {}, 200, 200, 503},
		{"when one family of two has been written, not ready", none, func(h *Health) { h.Updated(service.IPv4) }, 200, 200, 503},
		{"when both have been written, ready", none, written, 200, 200, 200},
		{"when one family is behind, not well", service.IPv6, written, 503, 503, 503},
		{"when a family cannot be written at all, not well", service.IPv6, func(*Health) {}, 503, 503, 503},
		{"when the Node is an ordinary one, well", none, func(h *Health) { written(h); h.SetNode(&corev1.Node{}) }, 200, 200, 200},
		{"when there is no Node, no traffic", none, func(h *Health) { written(h); h.SetNode(nil) }, 503, 200, 200},
		{"when the Node is being deleted, no traffic", none, func(h *Health) {
			written(h)
			h.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}})
		}, 503, 200, 200},
		{"when the autoscaler has marked it, no traffic", none, func(h *Health) { written(h); h.SetNode(tainted) }, 503, 200, 200},
		{"when the mark is taken off, well again", none, func(h *Health) { written(h); h.SetNode(tainted); h.SetNode(&corev1.Node{}) }, 200, 200, 200},
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

func TestTheBodyIsKubeProxys(t *testing.T) {
	h := New(Options{Families: []service.Family{service.IPv4}})
	h.Updated(service.IPv4)
	w := httptest.NewRecorder()
	h.ServeHealthz(w, nil)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"lastUpdated", "currentTime"} {
		text, _ := body[key].(string)
		if at, err := time.Parse(time.RFC3339, text); err != nil || time.Since(at) > time.Minute {
			t.Errorf("%s is %q", key, text)
		}
	}
	if body["healthy"] != true || body["nodeEligible"] != true {
		t.Errorf("got %s", w.Body)
	}
	status, _ := body["status"].(map[string]any)
	family, _ := status["IPv4"].(map[string]any)
	if family["healthy"] != true || family["lastUpdated"] == nil {
		t.Errorf("got %s", w.Body)
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers are %v", w.Header())
	}
	w = httptest.NewRecorder()
	h.ServeLivez(w, nil)
	body = nil
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if _, there := body["nodeEligible"]; there {
		t.Errorf("/livez speaks of the node: %s", w.Body)
	}
}
