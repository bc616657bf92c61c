package manifests

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/fairlead/fairlead/pkg/source"
)

// spare is what the role allows beyond what Fairlead does each time it runs: an event that comes again is patched.
var spare = []string{"patch events"}

func TestTheRoleAllowsWhatFairleadDoesAndNoMore(t *testing.T) {
	want := asked(t)
	for _, right := range spare {
		want[right] = true
	}
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(allowed(the[*rbacv1.ClusterRole](t, objects))))); diff != "" {
			t.Errorf("(-Fairlead does +the role allows):\n%s", diff)
		}
	})
}

// allowed spells a role out.
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

// asked is what Fairlead asks of an API server, as seen by one.
func asked(t *testing.T) map[string]bool {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	client := fake.NewClientset()
	src := &source.APIServer{Client: client, NodeName: "node"}
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, source.Handlers{}) }()
	src.Events(ctx).Service(types.NamespacedName{Namespace: "default", Name: "service"}, "Reason", "message")
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	const each = 7 // list and watch of three resources, and an event
	rights := map[string]bool{}
	for deadline := time.Now().Add(time.Minute); len(rights) < each; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute Fairlead has asked for no more than %v", slices.Sorted(maps.Keys(rights)))
		}
		for _, action := range client.Actions() {
			rights[right(action.GetVerb(), action.GetResource().Group, action.GetResource().Resource)] = true
		}
	}
	return rights
}
