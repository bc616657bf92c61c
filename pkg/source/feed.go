package source

import (
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// feed hands what a reflector sees on to a Handler, and keeps no object: all that a Table needs is in the Builder, and a cache of
// everything beside it would be most of the memory in a large cluster. It keeps the names, to tell what has gone while a watch was
// down. It passes for the queue of a controller, out of which nothing ever comes.
type feed struct {
	feedOptions
	names  map[cache.ObjectName]struct{}  // of the objects that have been handed over
	held   map[cache.ObjectName]time.Time // those of them that a list lacked which is not believed, and until when (doubt.go)
	doubt  *time.Timer                    // fires when the first of them is taken for deleted; nil: none is held
	synced chan struct{}                  // closed once everything has been handed over
	closed chan struct{}
	sync   func() // closes synced
}

// feedOptions are what a feed is made with.
type feedOptions struct {
	resource string
	logger   klog.Logger
	set      func(object any)
	forget   func(namespace, name string)
	locked   func(do func()) // wraps all that happens
	seen     func()          // is called, locked, when the API server has told something
}

func newFeed(o feedOptions) *feed {
	f := &feed{feedOptions: o, names: map[cache.ObjectName]struct{}{}, held: map[cache.ObjectName]time.Time{}, synced: make(chan struct{}), closed: make(chan struct{})}
	f.sync = sync.OnceFunc(func() { close(f.synced) })
	return f
}

// told does what the API server has told.
func (f *feed) told(do func()) {
	f.locked(func() {
		f.seen()
		do()
	})
}

// Add implements cache.Queue.
func (f *feed) Add(object any) error {
	name, err := cache.ObjectToName(object)
	if err != nil {
		return err
	}
	f.told(func() { f.take(name, object) })
	return nil
}

func (f *feed) take(name cache.ObjectName, object any) {
	f.names[name] = struct{}{}
	f.back(name)
	f.set(object)
}

// Update implements cache.Queue.
func (f *feed) Update(object any) error { return f.Add(object) }

// Delete implements cache.Queue.
func (f *feed) Delete(object any) error {
	name, err := cache.ObjectToName(object)
	if err != nil {
		return err
	}
	f.told(func() { f.drop(name) })
	return nil
}

func (f *feed) drop(name cache.ObjectName) {
	delete(f.names, name)
	delete(f.held, name)
	f.forget(name.Namespace, name.Name)
}

// Replace implements cache.Queue: objects are all that there are.
func (f *feed) Replace(objects []any, _ string) error {
	listed := make(map[cache.ObjectName]struct{}, len(objects))
	for i, object := range objects {
		name, err := cache.ObjectToName(object)
		if err != nil {
			return err
		}
		listed[name] = struct{}{}
		f.told(func() { f.take(name, object) })
		objects[i] = nil
	}
	f.told(func() { f.miss(listed) })
	f.sync()
	return nil
}

// Resync implements cache.Queue. What was handed over cannot be lost on the way, so it is not handed over again.
func (f *feed) Resync() error { return nil }

// Transformer implements cache.TransformingStore: a list that is streamed is kept until it is complete.
func (f *feed) Transformer() cache.TransformFunc { return trim }

// Pop implements cache.Queue.
func (f *feed) Pop(cache.PopProcessFunc) (any, error) {
	<-f.closed
	return nil, cache.ErrFIFOClosed
}

// HasSynced implements cache.Queue.
func (f *feed) HasSynced() bool { return cache.IsDone(f.HasSyncedChecker()) }

// HasSyncedChecker implements cache.Queue.
func (f *feed) HasSyncedChecker() cache.DoneChecker { return listed{f} }

// Close implements cache.Queue. What is held stays as it is: nobody wants to know any more.
func (f *feed) Close() {
	f.locked(f.stopDoubt)
	close(f.closed)
}

// listed is done once a feed has handed over everything that existed at the start.
type listed struct{ feed *feed }

// Name implements cache.DoneChecker.
func (l listed) Name() string { return l.feed.resource }

// Done implements cache.DoneChecker.
func (l listed) Done() <-chan struct{} { return l.feed.synced }
