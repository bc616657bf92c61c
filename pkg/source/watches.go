package source

import (
	"context"
	"errors"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watches turns what reflectors see into calls of a Handler, one at a time.
type watches struct {
	handler Handler
	logger  klog.Logger
	synced  []cache.DoneChecker // for each resource
	ownNode func(*corev1.Node)
	renew   string // see APIServer.Renew

	mu       sync.Mutex
	haveNode bool
	failing  map[string]string // resource to the reason that has been logged
}

// follow hands every change of one resource to set and forget, until ctx ends.
func (w *watches) follow(ctx context.Context, resource string, example runtime.Object,
	set func(object any), forget func(namespace, name string), from cache.ListerWatcher) {
	f := newFeed(feedOptions{
		resource: resource, logger: w.logger, set: set, forget: forget,
		locked: w.locked, seen: func() { w.recovered(resource) },
	})
	w.synced = append(w.synced, f.HasSyncedChecker())
	controller := cache.New(&cache.Config{
		Queue: f, ListerWatcher: from, ObjectType: example,
		Process:                      func(any, bool) error { return nil }, // nothing comes out of a feed
		WatchErrorHandlerWithContext: func(_ context.Context, _ *cache.Reflector, err error) { w.failed(resource, err) },
	})
	// It ends with ctx, but may take long about it: a reflector sleeps between its attempts. Nobody waits for that.
	go controller.RunWithContext(ctx)
}

// unlisted names the resources of which not everything has been seen yet.
func (w *watches) unlisted() []string {
	var names []string
	for _, s := range w.synced {
		if !cache.IsDone(s) {
			names = append(names, s.Name())
		}
	}
	return names
}

func (w *watches) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func (w *watches) nodeSeen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.haveNode
}

// failed logs why a resource cannot be watched, once for each reason. Watches end and expire all the time: that is no error. What the API
// server refuses has the same reason for a list and a watch, with different texts.
func (w *watches) failed(resource string, err error) {
	if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	w.locked(func() {
		if w.failing == nil {
			w.failing = map[string]string{}
		}
		reason := string(apierrors.ReasonForError(err))
		if reason == "" {
			reason = err.Error()
		}
		if w.failing[resource] == reason {
			return
		}
		w.failing[resource] = reason
		w.logger.Error(err, "Cannot watch the API server; the rules stay as they are, and it will be tried again", "resource", resource, "mend", w.remedy(resource, err))
	})
}

// recovered is called with mu held.
func (w *watches) recovered(resource string) {
	if w.failing[resource] == "" {
		return
	}
	delete(w.failing, resource)
	w.logger.Info("Watching the API server again", "resource", resource)
}

// remedy says what can be done about an error of the API server.
func (w *watches) remedy(resource string, err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "let Fairlead's user or ServiceAccount get, list and watch " + resource + " in all namespaces, as the ClusterRole system:node-proxier does"
	case apierrors.IsUnauthorized(err):
		return "the API server refuses the credentials: " + w.renew
	case apierrors.IsTooManyRequests(err):
		return "none needed here: the API server has too much to do"
	}
	return "see that the API server is up and can be reached from this node"
}
