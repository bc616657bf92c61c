package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2/ktesting"
)

// server is an API server's Services, which can be listed and watched.
type server struct {
	mu      sync.Mutex
	names   []string
	watcher *watch.FakeWatcher
	fails   error

	failsWatch     error // in place of fails
	refusedWatches int
}

func (s *server) list() *corev1.ServiceList {
	l := &corev1.ServiceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for _, name := range s.names {
		l.Items = append(l.Items, *named(name))
	}
	return l
}

func named(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: "1"}}
}

// List implements cache.ListerWatcher.
func (s *server) List(metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return nil, s.fails
	}
	return s.list(), nil
}

// Watch implements cache.ListerWatcher.
func (s *server) Watch(metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failsWatch != nil {
		s.refusedWatches++
		return nil, s.failsWatch
	}
	if s.fails != nil {
		return nil, s.fails
	}
	s.watcher = watch.NewFake()
	return s.watcher, nil
}

// IsWatchListSemanticsUnSupported makes reflectors list before they watch.
func (s *server) IsWatchListSemanticsUnSupported() bool { return true }

// has makes the server have other Services without telling, and breaks the watch, so that they are listed.
func (s *server) has(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = names
	status := apierrors.NewResourceExpired("too old").Status()
	s.watcher.Error(&status)
}

// deletes is seen by whoever watches.
func (s *server) deletes(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
	s.watcher.Delete(named(name))
}

// handled is what a Handler knows of.
type handled struct {
	mu    sync.Mutex
	names map[string]bool
}

func (h *handled) SetService(svc *corev1.Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[svc.Name] = true
}

func (h *handled) DeleteService(_, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.names, name)
}

func (*handled) SetSlice(*discoveryv1.EndpointSlice) {}
func (*handled) DeleteSlice(_, _ string)             {}
func (*handled) SetNode(*corev1.Node)                {}
func (*handled) Listed()                             {}

func (h *handled) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for name := range h.names {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// follow watches a server's Services within a synctest bubble, and returns what is known of them and what is logged.
func follow(t *testing.T, s *server) (*handled, ktesting.Buffer, func()) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, stop := context.WithCancel(t.Context())
	h := &handled{names: map[string]bool{}}
	w := &watches{handler: h, logger: logger}
	w.follow(ctx, "services", &corev1.Service{}, w.service, h.DeleteService, s)
	time.Sleep(5 * time.Second)
	return h, logger.GetSink().(ktesting.Underlier).GetBuffer(), stop
}

func TestAListThatLacksMostIsNotBelievedAtOnce(t *testing.T) {
	const relisted = 10 * time.Second // a reflector takes its time
	type step struct {
		do   func(s *server)
		wait time.Duration
		want string
	}
	empty := func(s *server) { s.has() }
	all := func(s *server) { s.has("a", "b", "c", "d") }
	tests := []struct {
		name  string
		steps []step
		says  string
	}{
		{"an empty list, and everything back in a moment", []step{{empty, relisted, "abcd"}, {all, 2 * disbelief, "abcd"}}, "has all objects again"},
		{"an empty list that stays empty", []step{{empty, relisted, "abcd"}, {func(*server) {}, disbelief, ""}}, "taken for deleted"},
		{"an empty list again and again", []step{
			{empty, relisted, "abcd"}, {empty, relisted, "abcd"}, {empty, disbelief - 3*relisted, "abcd"}, {func(*server) {}, 2 * relisted, ""}}, "taken for deleted"},
		{"a part that comes back and goes again is held for the whole time", []step{
			{empty, disbelief - 5*relisted, "abcd"}, {func(s *server) { s.has("a", "b") }, relisted, "abcd"}, {empty, relisted, "abcd"},
			{func(*server) {}, 4 * relisted, "ab"}, {empty, relisted, "ab"}, {func(*server) {}, disbelief, ""}}, "taken for deleted"},
		{"everything back, and an empty list again", []step{
			{empty, disbelief - 3*relisted, "abcd"}, {all, relisted, "abcd"}, {empty, 5 * relisted, "abcd"}, {func(*server) {}, disbelief, ""}}, "has all objects again"},
		{"nothing but what an API server makes by itself", []step{
			{func(s *server) { s.has("a") }, relisted, "abcd"}, {func(*server) {}, disbelief, "a"}}, "lacks most"},
		{"a part back in time, the rest not", []step{
			{empty, relisted, "abcd"}, {func(s *server) { s.has("a", "b", "c") }, relisted, "abcd"}, {func(*server) {}, disbelief, "abc"}}, "taken for deleted"},
		{"a few that went while nobody watched are gone at once", []step{{func(s *server) { s.has("a", "b", "c") }, relisted, "abc"}}, ""},
		{"all that somebody is seen to delete go at once", []step{
			{func(s *server) { s.deletes("a"); s.deletes("b"); s.deletes("c"); s.deletes("d") }, time.Second, ""}}, ""},
		{"doubt is forgotten when all is back", []step{
			{empty, relisted, "abcd"}, {all, relisted, "abcd"}, {func(s *server) { s.has("a", "b", "c") }, relisted, "abc"}}, "has all objects again"},
		{"what is new meanwhile counts at once", []step{{func(s *server) { s.has("e") }, relisted, "abcde"}, {func(*server) {}, disbelief, "e"}}, "lacks most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{names: []string{"a", "b", "c", "d"}}
				known, log, stop := follow(t, s)
				defer stop()
				for i, step := range test.steps {
					step.do(s)
					time.Sleep(step.wait)
					if got := known.String(); got != step.want {
						t.Errorf("step %d: knows %q, want %q", i, got, step.want)
					}
				}
				if !strings.Contains(log.String(), test.says) || test.says == "" && strings.Contains(log.String(), "lacks") {
					t.Errorf("does not say %q:\n%s", test.says, log.String())
				}
			})
		})
	}
}

func TestWhatTheAPIServerRefusesIsNamedOnce(t *testing.T) {
	resource := schema.GroupResource{Resource: "services"}
	tests := []struct {
		name  string
		err   error
		words []string
	}{
		{"no rights", apierrors.NewForbidden(resource, "", fmt.Errorf("User %q cannot list", "x")), []string{`resource="services"`, "is forbidden", "list and watch services", "system:node-proxier"}},
		{"credentials", apierrors.NewUnauthorized("Unauthorized"), []string{`resource="services"`, "refuses the credentials"}},
		{"overload", apierrors.NewTooManyRequests("busy", 1), []string{`resource="services"`, "too much to do"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{names: []string{"a"}, fails: test.err}
				known, log, stop := follow(t, s)
				defer stop()
				time.Sleep(10 * time.Minute)
				said := log.String()
				if n := strings.Count(said, "Cannot watch"); n != 1 {
					t.Errorf("said %d times:\n%s", n, said)
				}
				for _, word := range test.words {
					if !strings.Contains(said, word) {
						t.Errorf("does not say %q:\n%s", word, said)
					}
				}
				s.mu.Lock()
				s.fails = nil
				s.mu.Unlock()
				time.Sleep(5 * time.Minute)
				if known.String() != "a" || !strings.Contains(log.String(), "Watching the API server again") {
					t.Errorf("does not recover: knows %q:\n%s", known, log.String())
				}
			})
		})
	}
}

// A list and a watch are refused in different words.
func TestARightThatIsWithdrawnIsNamedOnce(t *testing.T) {
	forbidden := func(verb string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", fmt.Errorf("User %q cannot %s", "x", verb))
	}
	synctest.Test(t, func(t *testing.T) {
		s := &server{names: []string{"a"}}
		_, log, stop := follow(t, s)
		defer stop()
		s.mu.Lock()
		s.fails, s.failsWatch = forbidden("list"), forbidden("watch")
		s.watcher.Stop()
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if n := strings.Count(log.String(), "Cannot watch"); n != 1 {
			t.Errorf("named %d times:\n%s", n, log.String())
		}
		s.mu.Lock()
		asked := s.refusedWatches
		s.mu.Unlock()
		if asked == 0 {
			t.Error("no watch was refused")
		}
	})
}
