package proxier

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

// journal is what some Backends were asked for, in order.
type journal struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%v ", time.Since(j.start))+fmt.Sprintf(format, args...))
}

// take returns the lines since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// witness is a Backend of one mode that notes what it is asked for, and does as it is told.
type witness struct {
	*journal
	name string

	mu     sync.Mutex
	fail   map[string]int // how many calls of each sort fail
	left   int            // what Drain says
	broken bool           // whether Verify finds something
	ports  service.NodeAddresses

	retired int // calls of Retire
}

func (w *witness) call(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail[what] > 0 {
		w.fail[what]--
		w.note("%s: %s fails", w.name, what)
		return errors.New("no")
	}
	w.note("%s: %s", w.name, what)
	return nil
}

func (w *witness) Sync(_ context.Context, table *service.Table, dirty service.PortSet) error {
	w.mu.Lock()
	w.ports = table.NodePorts
	w.mu.Unlock()
	if dirty == nil {
		return w.call("sync all")
	}
	return w.call(fmt.Sprintf("sync %d", len(dirty)))
}

// Verify is noted only where it finds something.
func (w *witness) Verify(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.broken {
		return nil, nil
	}
	w.note("%s: verify", w.name)
	return []string{"all is gone"}, nil
}

func (w *witness) Drain(context.Context) (int, error) {
	err := w.call("drain")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left, err
}

func (w *witness) Retire(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired++
	return nil
}

func (w *witness) Remove(context.Context) error { return w.call("remove") }

// tell changes what a witness does.
func (w *witness) tell(change func(w *witness)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// crossing is a Proxier in mode a, beside which there is mode b.
type crossing struct {
	*Proxier
	*journal
	a, b     *witness
	switched []string
	follower *recordedFollower
	diary    *diary
}

// recordedFollower notes which Tables it is told of.
type recordedFollower struct {
	mu  sync.Mutex
	was []*service.Table
	is  []*service.Table
}

func (f *recordedFollower) Synced(_ context.Context, was, is *service.Table, _ service.PortSet) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.was, f.is = append(f.was, was), append(f.is, is)
	return nil
}

var onlyAddress = service.NodeAddresses{Listed: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}

func (c *crossing) mode(w *witness) Mode {
	m := Mode{Name: w.name, Backend: w, MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, DrainTimeout: time.Minute}
	if w.name == "b" {
		m.FitNodePorts = func(service.NodeAddresses, []netip.Addr) service.NodeAddresses { return onlyAddress }
	}
	return m
}

// cross runs a test on a crossing that has been synced with one Service; former adds b as what an earlier run has left.
func cross(t *testing.T, former bool, test func(t *testing.T, c *crossing)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		j := &journal{start: time.Now()}
		c := &crossing{journal: j, a: &witness{journal: j, name: "a", fail: map[string]int{}}, b: &witness{journal: j, name: "b", fail: map[string]int{}}, follower: &recordedFollower{}, diary: &diary{}}
		options := Options{Mode: "a", Observer: c.diary, MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, DrainTimeout: time.Minute, Followers: []Follower{c.follower}, Switched: func(from, to string, err error) {
			c.switched = append(c.switched, fmt.Sprintf("%s to %s: %v", from, to, err))
		}}
		if former {
			c.b.left = 1
			options.Former = []Mode{c.mode(c.b)}
		}
		c.Proxier = New(service.NewBuilder(service.Options{Family: service.IPv4}), c.a, options)
		c.SetService(web("1", 80))
		go c.Run(ctx)
		c.Listed()
		if !former {
			time.Sleep(time.Minute)
			c.take()
			c.start = time.Now()
		}
		test(t, c)
	})
}

// want compares what the backends were asked for.
func (c *crossing) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, c.take()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestASwitchIsMadeBeforeItBreaks(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *crossing)
		want []string
		mode string
	}{
		{"without connections the former mode goes at once", func(c *crossing) {
			c.SetMode(c.mode(c.b))
		}, []string{"0s b: sync all", "0s a: drain", "0s a: remove"}, "b"},
		{"with connections it is kept in step until they end", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.SetService(web("2", 80))
			time.Sleep(2 * time.Second)
			c.a.tell(func(w *witness) { w.left = 0 })
		}, []string{"0s b: sync all", "0s a: drain", "2s b: sync 1", "2s a: sync 1", "5s a: drain", "5s a: remove"}, "b"},
		{"with connections that never end it goes after their time", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			m := c.mode(c.a)
			m.DrainTimeout = 12 * time.Second
			c.SetMode(m)
			time.Sleep(time.Second)
			c.start = time.Now()
			c.SetMode(c.mode(c.b))
		}, []string{"0s b: sync all", "0s a: drain", "5s a: drain", "10s a: drain", "12s a: drain", "12s a: remove"}, "b"},
		{"a mode that cannot be written is taken away and tried again, and the present one goes on", func(c *crossing) {
			c.b.tell(func(w *witness) { w.fail["sync all"] = 2 })
			c.SetMode(c.mode(c.b))
			time.Sleep(500 * time.Millisecond)
			c.SetService(web("2", 80))
		}, []string{
			"0s b: sync all fails", "0s b: drain", "0s b: remove", "500ms a: sync 1", "1.5s b: sync all fails", "1.5s b: drain", "1.5s b: remove",
			"3.5s b: sync all", "3.5s a: drain", "3.5s a: remove",
		}, "b"},
		{"a mode that is not in the kernel after it was written is none", func(c *crossing) {
			c.b.tell(func(w *witness) { w.broken = true })
			c.SetMode(c.mode(c.b))
			time.Sleep(500 * time.Millisecond)
			c.SetMode(c.mode(c.a))
		}, []string{"0s b: sync all", "0s b: verify", "0s b: drain", "0s b: remove", "500ms b: drain", "500ms b: remove"}, "a"},
		{"a mode that could not be written goes on for the connections that it has got", func(c *crossing) {
			c.b.tell(func(w *witness) { w.fail["sync all"], w.left = 1, 2 })
			c.SetMode(c.mode(c.b))
		}, []string{"0s b: sync all fails", "0s b: drain", "0s a: sync all", "0s b: sync all", "1s b: sync all", "1s a: drain", "1s a: remove"}, "b"},
		{"what is being removed is not written again", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 1 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.a.tell(func(w *witness) { w.left, w.fail["remove"] = 0, 3 })
			time.Sleep(4 * time.Second)
			c.SetService(web("2", 80))
		}, []string{
			"0s b: sync all", "0s a: drain", "5s a: drain", "5s a: remove fails", "6s a: remove fails", "6s b: sync 1", "8s a: remove fails", "12s a: remove",
		}, "b"},
		{"what cannot be drained or removed is tried again", func(c *crossing) {
			c.a.tell(func(w *witness) { w.fail["drain"], w.fail["remove"] = 1, 1 })
			c.SetMode(c.mode(c.b))
		}, []string{"0s b: sync all", "0s a: drain fails", "1s a: drain", "1s a: remove fails", "2s a: remove"}, "b"},
		{"what cannot be drained is not made to serve again, whatever changes", func(c *crossing) {
			c.a.tell(func(w *witness) { w.fail["drain"] = 2 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.SetService(web("2", 80))
		}, []string{"0s b: sync all", "0s a: drain fails", "1s a: drain fails", "2s b: sync 1", "3s a: drain", "3s a: remove"}, "b"},
		{"what cannot be drained goes after its time", func(c *crossing) {
			m := c.mode(c.a)
			m.DrainTimeout = 12 * time.Second
			c.SetMode(m)
			time.Sleep(time.Second)
			c.start = time.Now()
			c.a.tell(func(w *witness) { w.fail["drain"] = 1000 })
			c.SetMode(c.mode(c.b))
		}, []string{
			"0s b: sync all", "0s a: drain fails", "1s a: drain fails", "3s a: drain fails", "7s a: drain fails", "12s a: drain fails", "12s a: remove",
		}, "b"},
		{"what has connections goes after its time too if they cannot be counted any more", func(c *crossing) {
			m := c.mode(c.a)
			m.DrainTimeout = 7 * time.Second
			c.SetMode(m)
			time.Sleep(time.Second)
			c.start = time.Now()
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(time.Second)
			c.a.tell(func(w *witness) { w.fail["drain"] = 1000 })
			c.SetService(web("2", 80))
		}, []string{
			"0s b: sync all", "0s a: drain", "1s b: sync 1", "1s a: sync 1", "5s a: drain fails", "6s a: drain fails", "7s a: drain fails", "7s a: remove",
		}, "b"},
		{"a mode that could not be written, nor drained, is not made to serve", func(c *crossing) {
			c.b.tell(func(w *witness) { w.fail["sync all"], w.fail["drain"] = 1, 1 })
			c.SetMode(c.mode(c.b))
		}, []string{"0s b: sync all fails", "0s b: drain fails", "0s a: sync all", "1s b: sync all", "1s a: drain", "1s a: remove"}, "b"},
		{"a mode that comes back while it drains serves again", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.SetMode(c.mode(c.a))
		}, []string{"0s b: sync all", "0s a: drain", "2s a: sync all", "2s b: drain", "2s b: remove"}, "a"},
		{"a mode that comes back has the settings that it is asked for with", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			m := c.mode(c.a)
			m.Backend = &witness{journal: c.journal, name: "other a"}
			c.SetMode(m)
		}, []string{"0s b: sync all", "0s a: drain", "2s other a: sync all", "2s b: drain", "2s b: remove"}, "a"},
		{"one that comes back and cannot be written keeps its connections", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.a.tell(func(w *witness) { w.fail["sync all"] = 1 })
			c.SetMode(c.mode(c.a))
		}, []string{"0s b: sync all", "0s a: drain", "2s a: sync all fails", "3s a: sync all", "3s b: drain", "3s b: remove"}, "a"},
		{"nor does it lose them when the settings change meanwhile", func(c *crossing) {
			c.a.tell(func(w *witness) { w.left = 3 })
			c.SetMode(c.mode(c.b))
			time.Sleep(2 * time.Second)
			c.a.tell(func(w *witness) { w.fail["sync all"] = 2 })
			c.SetMode(c.mode(c.a))
			time.Sleep(100 * time.Millisecond)
			c.SetMode(c.mode(c.a))
		}, []string{"0s b: sync all", "0s a: drain", "2s a: sync all fails", "2.1s a: sync all fails", "3.1s a: sync all", "3.1s b: drain", "3.1s b: remove"}, "a"},
		{"asked for the mode that it has, nothing happens", func(c *crossing) { c.SetMode(c.mode(c.a)) }, nil, "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cross(t, false, func(t *testing.T, c *crossing) {
				test.do(c)
				time.Sleep(20 * time.Second)
				c.want(t, test.want...)
				if is := c.Mode(); is != test.mode {
					t.Errorf("the mode is %s, want %s", is, test.mode)
				}
			})
		})
	}
}

// TestWhatIsKeptForItsConnectionsIsRepaired: connections of a former mode are lost if its rules are.
func TestWhatIsKeptForItsConnectionsIsRepaired(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.a.tell(func(w *witness) { w.left = 3 })
		m := c.mode(c.a)
		m.DrainTimeout = time.Hour
		c.SetMode(m)
		time.Sleep(time.Second)
		c.SetMode(c.mode(c.b))
		time.Sleep(time.Second)
		c.take()
		c.start = time.Now()
		c.a.tell(func(w *witness) { w.broken = true })
		time.Sleep(29*time.Second + 500*time.Millisecond)
		c.a.tell(func(w *witness) { w.broken = false })
		time.Sleep(30 * time.Second)
		var got []string
		for _, line := range c.take() {
			if !strings.HasSuffix(line, "a: drain") {
				got = append(got, line)
			}
		}
		// All of b is written after it, as jumps of a may have been added before those of b.
		want := []string{"29s a: verify", "29s a: sync all", "29s b: sync all"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if want := []string{"repaired [a mode, which only serves connections that it already had: all is gone]"}; !cmp.Equal(want, c.diary.repairs()) {
			t.Errorf("got %q, want %q", c.diary.repairs(), want)
		}
		c.a.tell(func(w *witness) {
			if w.retired == 0 {
				t.Error("endpoints whose connections have ended are not removed")
			}
		})
	})
}

func TestTenSwitchesInARow(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.b.tell(func(w *witness) { w.left = 5 })
		for range 5 {
			c.SetMode(c.mode(c.b))
			time.Sleep(3 * time.Second)
			c.SetMode(c.mode(c.a))
			time.Sleep(3 * time.Second)
		}
		c.b.tell(func(w *witness) { w.left = 0 })
		time.Sleep(time.Minute)
		synctest.Wait()
		lines := c.take()
		if last := lines[len(lines)-1]; last[len(last)-len("b: remove"):] != "b: remove" {
			t.Errorf("the last call is %q, want that b is removed", last)
		}
		if len(c.switched) != 10 {
			t.Errorf("%d switches were told of: %v", len(c.switched), c.switched)
		}
	})
}

func TestASwitchIsToldOfOnce(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.b.tell(func(w *witness) { w.fail["sync all"] = 3 })
		c.SetMode(c.mode(c.b))
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"a to b: no", "a to b: <nil>"}
		if diff := cmp.Diff(want, c.switched); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestASwitchThatNothingNeedsIsNotReportedAsFailed has no Service in the family at first, as the IPv6 of an IPv4 cluster.
func TestASwitchThatNothingNeedsIsNotReportedAsFailed(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.DeleteService("default", "1")
		time.Sleep(5 * time.Second)
		c.b.tell(func(w *witness) { w.fail["sync all"] = 1000 })
		c.SetMode(c.mode(c.b))
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.Needed() || len(c.switched) > 0 || !c.Healthy() {
			t.Errorf("without a Service: needed %v, healthy %v, told %q", c.Needed(), c.Healthy(), c.switched)
		}
		c.SetService(web("2", 80))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if !c.Needed() || !cmp.Equal(c.switched, []string{"a to b: no"}) {
			t.Errorf("with a Service: needed %v, told %q", c.Needed(), c.switched)
		}
		c.b.tell(func(w *witness) { w.fail["sync all"] = 0 })
		time.Sleep(time.Minute)
		synctest.Wait()
		if !cmp.Equal(c.switched, []string{"a to b: no", "a to b: <nil>"}) {
			t.Errorf("told %q", c.switched)
		}
	})
}

func TestFollowersGoOnAcrossASwitch(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.SetMode(c.mode(c.b))
		time.Sleep(5 * time.Second)
		c.SetService(web("2", 80))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		f := c.follower
		if len(f.is) != 3 {
			t.Fatalf("told of %d Tables, want 3", len(f.is))
		}
		for i := range f.is {
			if i > 0 && f.was[i] != f.is[i-1] {
				t.Errorf("call %d begins with another Table than the one before ended with", i)
			}
		}
		if n := len(f.is[2].Ports); n != 2 {
			t.Errorf("the last Table has %d ports", n)
		}
	})
}

func TestEachModeHasItsNodePorts(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.a.tell(func(w *witness) { w.left = 1 })
		c.SetMode(c.mode(c.b))
		time.Sleep(time.Second)
		c.SetService(web("2", 80))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if all := (service.NodeAddresses{All: true}); !c.a.ports.Equal(all) || !c.b.ports.Equal(onlyAddress) {
			t.Errorf("a has %v, b has %v", c.a.ports, c.b.ports)
		}
	})
}

func TestWhatAnotherModeHasLeftIsDrained(t *testing.T) {
	cross(t, true, func(t *testing.T, c *crossing) {
		time.Sleep(7 * time.Second)
		c.b.tell(func(w *witness) { w.left = 0 })
		time.Sleep(20 * time.Second)
		c.want(t, "0s a: sync all", "0s b: drain", "5s b: sync all", "5s b: drain", "10s b: drain", "10s b: remove")
	})
}

func TestNothingOfAnotherModeGoesBeforeThisOneServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		j := &journal{start: time.Now()}
		a, b := &witness{journal: j, name: "a", fail: map[string]int{"sync all": 2}}, &witness{journal: j, name: "b"}
		p := New(service.NewBuilder(service.Options{}), a, Options{Mode: "a", MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, Former: []Mode{{Name: "b", Backend: b}}})
		go p.Run(ctx)
		time.Sleep(time.Minute)
		p.Listed()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []string{"1m0s a: sync all fails", "1m1s a: sync all fails", "1m3s a: sync all", "1m3s b: drain", "1m3s b: remove"}
		if diff := cmp.Diff(want, j.take()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestTheOnlyModeThatServesIsNotTakenAway(t *testing.T) {
	cross(t, true, func(t *testing.T, c *crossing) {
		c.a.tell(func(w *witness) { w.fail["sync all"] = 1000 })
		c.b.tell(func(w *witness) { w.fail["sync all"] = 1 })
		c.SetService(web("2", 80))
		time.Sleep(20 * time.Second)
		c.take()
		c.start = time.Now()
		c.SetMode(c.mode(c.b))
		time.Sleep(500 * time.Millisecond)
		for _, line := range c.take() {
			if strings.Contains(line, "b: remove") {
				t.Errorf("%s, while a has never been written", line)
			}
		}
	})
}

func TestASwitchDoesNotWaitForAModeThatFails(t *testing.T) {
	cross(t, false, func(t *testing.T, c *crossing) {
		c.a.tell(func(w *witness) { w.fail["sync 1"] = 1000 })
		c.SetService(web("2", 80))
		time.Sleep(5*time.Minute + time.Second)
		c.take()
		c.start = time.Now()
		c.SetMode(c.mode(c.b))
		synctest.Wait()
		if c.Mode() != "b" {
			t.Errorf("%s is in force still", c.Mode())
		}
	})
}
