package lab

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func namespace(t *testing.T) string {
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return ns
}

// Do must be in the host's namespace every time, and nobody else may ever be.
func TestDo(t *testing.T) {
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	seen := map[string]string{}
	for _, h := range append(l.Nodes, l.Outside, l.Backbone) {
		var want string
		if err := h.Do(func() error { want = namespace(t); return nil }); err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[want]; ok || want == home {
			t.Fatalf("%s has the namespace of %q", h.Name, other)
		}
		seen[want] = h.Name
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				err := h.Do(func() error {
					if got := namespace(t); got != want {
						t.Errorf("in %s: namespace %s, want %s", h.Name, got, want)
					}
					if unix.Gettid() == unix.Getpid() {
						t.Error("a host has the main thread")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				runtime.Gosched()
				if got := namespace(t); got != home {
					t.Errorf("outside of Do: namespace %s, want %s", got, home)
				}
			})
		}
		wg.Wait()
	}
}

func TestDoErrors(t *testing.T) {
	l := newLab(t)
	want := errors.New("an error")
	if err := l.Outside.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	err := l.Outside.Do(func() error { runtime.Goexit(); return nil })
	if !errors.Is(err, errGoexit) {
		t.Errorf("got %v from a function that did not return", err)
	}
	// The host can be used afterwards.
	if err := l.Outside.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for _, n := range []int{-1, maxNodes + 1} {
		if _, err := New(Options{Nodes: n}); err == nil {
			t.Errorf("%d nodes: no error", n)
		}
	}
	l := newLab(t)
	if _, err := l.Pod(l.Outside, "pod"); err == nil {
		t.Error("a pod on a host that is no node")
	}
	if _, err := l.AddAddresses(l.Nodes[0], 1); err == nil {
		t.Error("more addresses for a host that is no pod")
	}
	pod := newPod(t, l, l.Nodes[0], "pod")
	if _, err := l.AddAddresses(pod, manySize); err == nil {
		t.Error("more addresses than there are")
	}
	if _, err := l.Outside.DialContext(t.Context(), "tcp", "localhost:80"); err == nil {
		t.Error("dialled a name")
	}
}
