package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// settle is how long a folder has to be quiet before it is read again: a file is often written in several steps.
const settle = 100 * time.Millisecond

// Manifests hands over what the YAML and JSON files of one folder hold, and follows their changes: Fairlead without a
// cluster. Kinds that have nothing to do with forwarding may stand in the files too.
type Manifests struct {
	Dir      string
	NodeName string
}

// Run implements Source.
func (m *Manifests) Run(ctx context.Context, handler Handler) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", m.Dir, err)
	}
	defer watcher.Close()
	if err := watcher.Add(m.Dir); err != nil {
		return fmt.Errorf("watch the folder given by --manifests, %s: %w", m.Dir, err)
	}
	f := &folder{dir: m.Dir, node: m.NodeName, handler: handler, logger: klog.FromContext(ctx), files: map[string]*file{}, handed: map[objectKey]object{}}
	f.read()
	if _, found := f.handed[objectKey{kind: "Node", name: m.NodeName}]; !found {
		logNoNode(f.logger, m.NodeName)
	}
	handler.Listed()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet = time.After(settle)
		case err := <-watcher.Errors:
			f.logger.Error(err, "Lost track of the manifests; reading all of them again", "dir", m.Dir)
			quiet = time.After(settle)
		case <-quiet:
			quiet = nil
			f.read()
		}
	}
}

// folder is what a folder of manifests held when it was last read.
type folder struct {
	dir     string
	node    string
	handler Handler
	logger  klog.Logger
	files   map[string]*file
	handed  map[objectKey]object // what the handler knows
	failed  string               // why the folder could not be read, if it could not
}

// file is one manifest. What it held when it could last be read counts until it can be read again.
type file struct {
	objects []object
	failed  string // why it could not be read, if it could not
}

type object = metav1.Object

type objectKey struct {
	kind, namespace, name string
}

func keyOf(o object) objectKey {
	return objectKey{reflect.TypeOf(o).Elem().Name(), o.GetNamespace(), o.GetName()}
}

// read reads all files, and hands over what has changed.
func (f *folder) read() {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		if f.failed != err.Error() {
			f.failed = err.Error()
			f.logger.Error(err, "Cannot read the manifests; what they held last stays", "dir", f.dir)
		}
		return
	}
	f.failed = ""
	present := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			present[name] = f.readFile(name)
		}
	}
	maps.DeleteFunc(f.files, func(name string, _ *file) bool { return !present[name] })
	f.handOver()
}

// readFile reports whether there is still such a file.
func (f *folder) readFile(name string) bool {
	known := f.files[name]
	if known == nil {
		known = &file{}
		f.files[name] = known
	}
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false // it has gone since the folder was read
	}
	var objects []object
	if err == nil {
		objects, err = parseManifest(data)
	}
	if err == nil {
		*known = file{objects: objects}
		return true
	}
	if known.failed != err.Error() {
		known.failed = err.Error()
		f.logger.Error(err, "Cannot read a manifest; what it held last stays, correct the file", "file", filepath.Join(f.dir, name))
	}
	return true
}

// handOver tells the handler what differs from what it knows. Of an object that stands in two files, the file that comes
// first by name counts.
func (f *folder) handOver() {
	now := map[objectKey]object{}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		for _, o := range f.files[name].objects {
			if _, twice := now[keyOf(o)]; !twice {
				now[keyOf(o)] = o
			}
		}
	}
	var set, removed []object
	for key, o := range f.handed {
		if now[key] == nil {
			removed = append(removed, o)
		}
	}
	for key, o := range now {
		if !reflect.DeepEqual(f.handed[key], o) {
			set = append(set, o)
		}
	}
	f.handed = now
	// A sync may fall in between. Endpoints that move from one slice to another must not be gone for that moment, and a Service
	// must not find its address taken by one that goes.
	each(set, isSlice, f.set)
	each(removed, isService, f.remove)
	each(set, isService, f.set)
	each(removed, isSlice, f.remove)
	each(set, isNode, f.set)
}

func each(objects []object, is func(object) bool, do func(object)) {
	for _, o := range objects {
		if is(o) {
			do(o)
		}
	}
}

func isSlice(o object) bool   { _, is := o.(*discoveryv1.EndpointSlice); return is }
func isService(o object) bool { _, is := o.(*corev1.Service); return is }
func isNode(o object) bool    { _, is := o.(*corev1.Node); return is }

func (f *folder) set(o object) {
	switch o := o.(type) {
	case *corev1.Service:
		f.handler.SetService(o)
	case *discoveryv1.EndpointSlice:
		f.handler.SetSlice(o)
	case *corev1.Node:
		if o.Name == f.node {
			f.handler.SetNode(o)
		}
	}
}

func (f *folder) remove(o object) {
	switch o := o.(type) {
	case *corev1.Service:
		f.handler.DeleteService(o.Namespace, o.Name)
	case *discoveryv1.EndpointSlice:
		f.handler.DeleteSlice(o.Namespace, o.Name)
	}
}
