package manifests

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/fairlead/fairlead/pkg/source"
)

func TestRoleAllowsWhatFairleadRequestsAndNoMore(t *testing.T) {
	want := slices.Sorted(maps.Keys(requested(t)))
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		got := slices.Sorted(maps.Keys(allowed(the[*rbacv1.ClusterRole](t, objects))))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-Fairlead requests +the role allows):\n%s", diff)
		}
	})
}

// allowed lists the rights of a role.
func allowed(role *rbacv1.ClusterRole) map[string]bool {
	rights := map[string]bool{}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights[right(verb, group, resource)] = true
				}
			}
		}
	}
	return rights
}

func right(verb, group, resource string) string {
	if group == "" {
		return verb + " " + resource
	}
	return verb + " " + resource + "." + group
}

// requested returns the rights that Fairlead needs, as an API server sees them.
func requested(t *testing.T) map[string]bool {
	t.Helper()
	server := &recorder{rights: map[string]bool{}}
	listening := httptest.NewServer(server)
	defer listening.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: listening.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	src := &source.APIServer{Client: client, NodeName: "node"}
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, source.Handlers{}) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	events := src.Events(ctx)
	for range 2 { // the second one is counted in the first one's object
		events.Service(types.NamespacedName{Namespace: "default", Name: "service"}, "Reason", "message")
	}
	const all = 8 // list and watch of three resources, create and patch of events
	for deadline := time.Now().Add(time.Minute); len(server.seen()) < all; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute Fairlead has requested only %v", slices.Sorted(maps.Keys(server.seen())))
		}
	}
	return server.seen()
}

// recorder is an API server without objects that records which rights its requests need.
type recorder struct {
	mu     sync.Mutex
	rights map[string]bool
}

func (r *recorder) seen() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.rights)
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	verb := verbOf(request)
	group, resource := resourceOf(request.URL.Path)
	r.mu.Lock()
	r.rights[right(verb, group, resource)] = true
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch verb {
	case "list":
		fmt.Fprint(w, `{"metadata": {"resourceVersion": "1"}, "items": []}`)
	case "watch":
		if request.URL.Query().Get("sendInitialEvents") == "true" {
			// As an API server without this feature; the client lists instead.
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422}`)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-request.Context().Done()
	default:
		fmt.Fprint(w, `{"kind": "Event", "apiVersion": "v1", "metadata": {"name": "event", "namespace": "default"}, "count": 1}`)
	}
}

func verbOf(request *http.Request) string {
	switch {
	case request.Method == http.MethodPost:
		return "create"
	case request.Method != http.MethodGet:
		return strings.ToLower(request.Method)
	case request.URL.Query().Get("watch") == "true":
		return "watch"
	}
	return "list"
}

// resourceOf reads paths such as /api/v1/nodes and /apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME.
func resourceOf(path string) (group, resource string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "apis" {
		group, parts = parts[1], parts[1:]
	}
	parts = parts[2:]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	return group, parts[0]
}
