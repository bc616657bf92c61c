package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watches turns what informers say into calls of a Handler, one at a time.
type watches struct {
	handler Handler
	logger  klog.Logger
	synced  []cache.InformerSynced
	names   []string // of the resources, in the same order

	mu       sync.Mutex
	haveNode bool
	failing  map[string]string // resource to the error that has been logged
}

// follow hands every change of one resource to take.
func (w *watches) follow(resource string, informer cache.SharedIndexInformer, take func(object any, deleted bool)) error {
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		w.failed(resource, err)
	}); err != nil {
		return fmt.Errorf("%s: %w", resource, err)
	}
	one := func(object any, deleted bool) {
		w.locked(func() {
			w.recovered(resource)
			take(object, deleted)
		})
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { one(object, false) },
		UpdateFunc: func(_, object any) { one(object, false) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj // the watch was down when it went; this is how it looked before
			}
			one(object, true)
		},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", resource, err)
	}
	w.synced, w.names = append(w.synced, registration.HasSynced), append(w.names, resource)
	return nil
}

// unlisted names the resources of which not everything has been seen yet.
func (w *watches) unlisted() []string {
	var names []string
	for i, synced := range w.synced {
		if !synced() {
			names = append(names, w.names[i])
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

// failed logs why a resource cannot be watched, once for each reason. Watches end and expire all the time: that is no error.
func (w *watches) failed(resource string, err error) {
	if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	w.locked(func() {
		if w.failing == nil {
			w.failing = map[string]string{}
		}
		if w.failing[resource] == err.Error() {
			return
		}
		w.failing[resource] = err.Error()
		w.logger.Error(err, "Cannot watch the API server; the rules stay as they are, and it will be tried again", "resource", resource)
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
