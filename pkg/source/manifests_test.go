package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// listener is a Handler that notes what it was told.
type listener struct {
	mu   sync.Mutex
	said []string
}

func (l *listener) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func (l *listener) SetService(s *corev1.Service) {
	l.say("set %s/%s %s", s.Namespace, s.Name, s.Spec.ClusterIP)
}
func (l *listener) DeleteService(ns, name string) { l.say("delete %s/%s", ns, name) }
func (l *listener) SetSlice(s *discoveryv1.EndpointSlice) {
	l.say("set slice %s/%s", s.Namespace, s.Name)
}
func (l *listener) DeleteSlice(ns, name string) { l.say("delete slice %s/%s", ns, name) }
func (l *listener) SetNode(n *corev1.Node)      { l.say("set node %s", n.Name) }
func (l *listener) Listed()                     { l.say("listed") }

// take returns what was said since the last call, sorted, once as much as wanted has been said.
func (l *listener) take(want int) []string {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		n := len(l.said)
		l.mu.Unlock()
		if n >= want {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	said := slices.Sorted(slices.Values(l.said))
	l.said = nil
	return said
}

const twoServices = `
# a comment alone
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: dns}
  spec: {clusterIP: 10.96.0.2}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
---
apiVersion: example.com/v1
kind: Unheard
metadata: {name: of}
`

const oneSlice = `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "web-1", "namespace": "shop"}}`

func TestManifestsFollowTheFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		// Rename, so that a partially written file is never read.
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("services.yaml", twoServices)
	write("notes.txt", "this: is: not: read")
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{}
	done := make(chan error, 1)
	go func() { done <- (&Manifests{Dir: dir}).Run(ctx, l) }()

	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"what exists is handed over, then listed", func() {}, []string{"listed", "set default/dns 10.96.0.2", "set shop/web 10.96.0.1"}},
		{"a new file", func() { write("slice.json", oneSlice) }, []string{"set slice shop/web-1"}},
		{"a changed object, and only it", func() {
			write("services.yaml", twoServices[:len(twoServices)-1]+"\n---\napiVersion: v1\nkind: Service\nmetadata: {name: new}\nspec: {clusterIP: 10.96.0.3}\n")
		}, []string{"set default/new 10.96.0.3"}},
		{"a broken file keeps what it held, and others go on", func() {
			write("services.yaml", "kind: Service\n\tnot: yaml")
			write("slice.json", `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "web-2", "namespace": "shop"}}`)
		}, []string{"delete slice shop/web-1", "set slice shop/web-2"}},
		{"a mended file", func() { write("services.yaml", twoServices) }, []string{"delete default/new"}},
		{"a removed file", func() { os.Remove(filepath.Join(dir, "services.yaml")) }, []string{"delete default/dns", "delete shop/web"}},
	}
	for _, step := range steps {
		step.do()
		if diff := cmp.Diff(step.want, l.take(len(step.want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestManifestsNeedAFolder(t *testing.T) {
	err := (&Manifests{Dir: filepath.Join(t.TempDir(), "none")}).Run(t.Context(), &listener{})
	if err == nil {
		t.Error("a folder that does not exist went unnoticed")
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(twoServices))
	f.Add([]byte(oneSlice))
	f.Add([]byte("kind: Service\n\tnot: yaml"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := parseManifest(data)
		if err != nil && objects != nil {
			t.Error("objects beside an error")
		}
		for _, o := range objects {
			if o.GetName() == "" {
				t.Errorf("%T without a name", o)
			}
		}
	})
}

// TestAMoveIsNoGap moves an endpoint's slice and a Service's address in one go, and looks at the order of what is said.
func TestAMoveIsNoGap(t *testing.T) {
	const before = `{"apiVersion": "v1", "kind": "List", "items": [
		{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "old"}, "spec": {"clusterIP": "10.96.0.1"}},
		{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "slice-1"}}]}`
	const after = `{"apiVersion": "v1", "kind": "List", "items": [
		{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "new"}, "spec": {"clusterIP": "10.96.0.1"}},
		{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "slice-2"}}]}`
	l := &listener{}
	f := &folder{dir: t.TempDir(), handler: l, files: map[string]*file{}, handed: map[objectKey]object{}}
	for _, text := range []string{before, after} {
		l.said = nil
		if err := os.WriteFile(filepath.Join(f.dir, "all.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.read()
	}
	want := []string{"set slice default/slice-2", "delete default/old", "set default/new 10.96.0.1", "delete slice default/slice-1"}
	if diff := cmp.Diff(want, l.said); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
