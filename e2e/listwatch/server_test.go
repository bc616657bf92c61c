package listwatch_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/features"
	featurestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead/fairlead/e2e/listwatch"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// clients are the ways of client-go to follow objects.
var clients = []struct {
	name      string
	mediaType string
	watchList bool
}{
	{"protobuf", runtime.ContentTypeProtobuf, true},
	{"json", runtime.ContentTypeJSON, true},
	{"protobuf with a list first", runtime.ContentTypeProtobuf, false},
	{"json with a list first", runtime.ContentTypeJSON, false},
}

func TestInformers(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			featurestesting.SetFeatureDuringTest(t, features.WatchListClient, c.watchList)
			server := listwatch.New(servicetest.Service("first", "10.96.0.1", "80"), servicetest.Service("second", "10.96.0.2", "80"))
			services := follow(t, server, c.mediaType, metav1.ListOptions{}).Core().V1().Services().Informer()
			steps := []struct {
				name string
				do   func()
				want map[string]string
			}{
				{"what was there first is seen", func() {}, map[string]string{"first": "10.96.0.1", "second": "10.96.0.2"}},
				{"an addition is seen", func() { server.Set(servicetest.Service("third", "10.96.0.3", "80")) },
					map[string]string{"first": "10.96.0.1", "second": "10.96.0.2", "third": "10.96.0.3"}},
				{"a change is seen", func() { server.Set(servicetest.Service("first", "10.96.0.9", "80")) },
					map[string]string{"first": "10.96.0.9", "second": "10.96.0.2", "third": "10.96.0.3"}},
				{"a deletion is seen", func() { server.Delete(servicetest.Service("second", "", "80")) },
					map[string]string{"first": "10.96.0.9", "third": "10.96.0.3"}},
				{"a deletion of nothing changes nothing", func() { server.Delete(servicetest.Service("second", "", "80")) },
					map[string]string{"first": "10.96.0.9", "third": "10.96.0.3"}},
				{"what was deleted can come back", func() { server.Set(servicetest.Service("second", "10.96.0.4", "80")) },
					map[string]string{"first": "10.96.0.9", "second": "10.96.0.4", "third": "10.96.0.3"}},
			}
			start(t, services)
			for _, step := range steps {
				step.do()
				await(t, step.name, services, step.want)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	theirs := func(s *corev1.Service) *corev1.Service {
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "another"}
		return s
	}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			featurestesting.SetFeatureDuringTest(t, features.WatchListClient, c.watchList)
			server := listwatch.New(servicetest.Service("ours", "10.96.0.1", "80"), theirs(servicetest.Service("theirs", "10.96.0.2", "80")),
				servicetest.Service("headless", "None", "80"))
			services := follow(t, server, c.mediaType, metav1.ListOptions{
				LabelSelector: "!service.kubernetes.io/service-proxy-name", FieldSelector: "spec.clusterIP!=None",
			}).Core().V1().Services().Informer()
			start(t, services)
			await(t, "only what is selected is seen", services, map[string]string{"ours": "10.96.0.1"})
			server.Set(servicetest.Service("theirs", "10.96.0.2", "80"))
			await(t, "what comes into the selection is added", services, map[string]string{"ours": "10.96.0.1", "theirs": "10.96.0.2"})
			server.Set(theirs(servicetest.Service("ours", "10.96.0.1", "80")))
			await(t, "what leaves the selection is deleted", services, map[string]string{"theirs": "10.96.0.2"})
		})
	}
}

func TestEveryKindIsServed(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}}
	slice := servicetest.Slice("web", "web-1", []string{"8080"}, "10.244.0.1@node-1", "10.244.0.2@node-2 !ready")
	server := listwatch.New(node, other, slice)
	nodes := follow(t, server, runtime.ContentTypeProtobuf, metav1.ListOptions{FieldSelector: "metadata.name=node-1"}).Core().V1().Nodes().Informer()
	factory := follow(t, server, runtime.ContentTypeProtobuf, metav1.ListOptions{})
	slices, cidrs := factory.Discovery().V1().EndpointSlices().Informer(), factory.Networking().V1().ServiceCIDRs().Informer()
	start(t, nodes, slices, cidrs)
	for _, c := range []struct {
		name     string
		informer cache.SharedInformer
		want     []any
	}{
		{"the selected node", nodes, []any{node}},
		{"a slice", slices, []any{slice}},
		{"no ServiceCIDR", cidrs, []any{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.informer.GetStore().List()
			for i, o := range got {
				got[i] = plain(o.(runtime.Object))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWatchGoesOnFromAVersion(t *testing.T) {
	server := listwatch.New(servicetest.Service("web", "10.96.0.1", "80"))
	services := client(t, server, runtime.ContentTypeProtobuf).CoreV1().Services("")
	list, err := services.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.Set(servicetest.Service("web", "10.96.0.2", "80"))
	server.Delete(servicetest.Service("web", "", "80"))
	second := int64(1)
	w, err := services.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: &second})
	if err != nil {
		t.Fatal(err)
	}
	var got []watch.EventType
	versions := []string{list.ResourceVersion}
	for event := range w.ResultChan() { // it ends by itself
		got = append(got, event.Type)
		versions = append(versions, event.Object.(*corev1.Service).ResourceVersion)
	}
	if diff := cmp.Diff([]watch.EventType{watch.Modified, watch.Deleted}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, versions); diff != "" {
		t.Errorf("versions: -want +got:\n%s", diff)
	}
}

func TestEventsAreKept(t *testing.T) {
	server := listwatch.New()
	c := client(t, server, runtime.ContentTypeProtobuf)
	core := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "one", Namespace: "default"}, Reason: "First"}
	if _, err := c.CoreV1().Events("default").Create(t.Context(), core, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	group := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: "two", Namespace: "default"}, Reason: "Second"}
	if _, err := c.EventsV1().Events("default").Create(t.Context(), group, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	events := server.Events()
	for i, e := range events {
		events[i] = plain(e)
	}
	if diff := cmp.Diff([]runtime.Object{core, group}, events); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatIsNotServedIsNotFound(t *testing.T) {
	c := client(t, listwatch.New(), runtime.ContentTypeProtobuf)
	if _, err := c.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a list of pods: %v, want not found", err)
	}
}

func TestABadSelectorIsABadRequest(t *testing.T) {
	c := client(t, listwatch.New(), runtime.ContentTypeProtobuf)
	if _, err := c.CoreV1().Services("").List(t.Context(), metav1.ListOptions{LabelSelector: "a in b"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a list: %v, want a bad request", err)
	}
}

func client(t *testing.T, server *listwatch.Server, mediaType string) kubernetes.Interface {
	t.Helper()
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		listener.CloseClientConnections()
		listener.Close()
	})
	c, err := kubernetes.NewForConfig(&rest.Config{Host: listener.URL, ContentConfig: rest.ContentConfig{ContentType: mediaType}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func follow(t *testing.T, server *listwatch.Server, mediaType string, options metav1.ListOptions) informers.SharedInformerFactory {
	t.Helper()
	return informers.NewSharedInformerFactoryWithOptions(client(t, server, mediaType), 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector, o.FieldSelector = options.LabelSelector, options.FieldSelector
	}))
}

// patience only ends a test that fails: what it waits for takes milliseconds.
const patience = 60 * time.Second

// start runs informers until the test's end, and waits until they have seen what there is.
func start(t *testing.T, list ...cache.SharedIndexInformer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, informer := range list {
		go informer.RunWithContext(t.Context())
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			t.Fatal("the informer has not seen everything")
		}
	}
}

// await waits until an informer knows the Services with these addresses and no other.
func await(t *testing.T, what string, services cache.SharedInformer, want map[string]string) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got := map[string]string{}
		for _, o := range services.GetStore().List() {
			svc := o.(*corev1.Service)
			got[svc.Name] = svc.Spec.ClusterIP
		}
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
	}
	t.Errorf("%s: -want +got:\n%s", what, diff)
}

// plain is an object without what the server gives it.
func plain(o runtime.Object) runtime.Object {
	o = o.DeepCopyObject()
	switch o := o.(type) {
	case *corev1.Node:
		o.TypeMeta, o.ResourceVersion = metav1.TypeMeta{}, ""
	case *discoveryv1.EndpointSlice:
		o.TypeMeta, o.ResourceVersion = metav1.TypeMeta{}, ""
	case *corev1.Event:
		o.TypeMeta = metav1.TypeMeta{}
	case *eventsv1.Event:
		o.TypeMeta = metav1.TypeMeta{}
	}
	return o
}
