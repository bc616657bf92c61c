package source

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

func TestFeedHandsOver(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, f *feed)
		want []string
	}{
		{"all that is listed", func(t *testing.T, f *feed) { f.list(t, "a", "b") }, []string{"a", "b"}},
		{"what comes, changes and goes", func(t *testing.T, f *feed) {
			f.list(t, "a")
			check(t, f.Add(named("b")))
			check(t, f.Update(named("a")))
			check(t, f.Delete(named("a")))
		}, []string{"a", "b", "a", "-a"}},
		{"what has gone while the watch was down", func(t *testing.T, f *feed) {
			f.list(t, "a", "b")
			check(t, f.Add(named("c")))
			check(t, f.Delete(named("b")))
			f.list(t, "a", "d")
		}, []string{"a", "b", "c", "-b", "a", "d", "-c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			f := testFeed(func(object any) { got = append(got, object.(*corev1.Service).Name) }, func(_, name string) { got = append(got, "-"+name) })
			if f.HasSynced() {
				t.Error("synced before a list")
			}
			test.do(t, f)
			if !f.HasSynced() {
				t.Error("not synced after a list")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("handed over (-want +got):\n%s", diff)
			}
		})
	}
}

func (f *feed) list(t *testing.T, names ...string) {
	t.Helper()
	objects := make([]any, len(names))
	for i, n := range names {
		objects[i] = named(n)
	}
	check(t, f.Replace(objects, "1"))
	if slices.ContainsFunc(objects, func(o any) bool { return o != nil }) {
		t.Error("the list still holds objects that have been handed over")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingComesOutOfAFeedButItsEnd(t *testing.T) {
	f := testFeed(func(any) {}, func(_, _ string) {})
	check(t, f.Add(named("a")))
	f.Close()
	if _, err := f.Pop(nil); !errors.Is(err, cache.ErrFIFOClosed) {
		t.Errorf("got %v", err)
	}
}

func testFeed(set func(any), forget func(namespace, name string)) *feed {
	return newFeed(feedOptions{resource: "services", set: set, forget: forget, locked: func(do func()) { do() }, seen: func() {}})
}

// "Watching the API server again" would be wrong while it is away.
func TestAResyncIsNoNewsOfTheAPIServer(t *testing.T) {
	seen := 0
	f := testFeed(func(any) {}, func(_, _ string) {})
	f.seen = func() { seen++ }
	f.list(t, "a", "b")
	before := seen
	check(t, f.Resync())
	if before == 0 || seen != before {
		t.Errorf("the API server counts as seen %d times by a list, and %d times by a resync", before, seen-before)
	}
}
