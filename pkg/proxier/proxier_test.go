package proxier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// call is one call of the recorded backend.
type call struct {
	At    time.Duration // since the start of the test
	What  string        // "sync" or "verify"
	Dirty string        // "all", or the names
}

// recorder is a Backend that notes when it was called, and fails or finds drift as it is told.
type recorder struct {
	start time.Time
	takes time.Duration

	mu    sync.Mutex
	calls []call
	fail  int      // how many syncs fail
	drift []string // what the next Verify finds
	left  int      // what Drain says
}

func (r *recorder) note(what, dirty string) {
	r.calls = append(r.calls, call{time.Since(r.start), what, dirty})
}

func (r *recorder) Sync(_ context.Context, _ *service.Table, dirty service.PortSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := "all"
	if dirty != nil {
		var names []string
		for name := range dirty {
			names = append(names, name.Name)
		}
		slices.Sort(names)
		text = fmt.Sprint(names)
	}
	r.note("sync", text)
	time.Sleep(r.takes)
	if r.fail > 0 {
		r.fail--
		return errors.New("no")
	}
	return nil
}

func (r *recorder) Verify(context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drift != nil {
		r.note("verify", "drift")
	}
	found := r.drift
	r.drift = nil
	return found, nil
}

func (r *recorder) Remove(context.Context) error { return nil }

func (r *recorder) Drain(context.Context) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left, nil
}

func web(name string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0." + name, Ports: []corev1.ServicePort{{Port: port}}},
	}
}

func TestSyncHappens(t *testing.T) {
	const second = time.Second
	tests := []struct {
		name  string
		takes time.Duration
		do    func(p *Proxier, r *recorder)
		want  []call
	}{
		{
			name: "never before everything has been listed",
			do: func(p *Proxier, _ *recorder) {
				p.SetService(web("1", 80))
				time.Sleep(10 * second)
			},
		},
		{
			name: "once, and of everything, when all has been listed",
			do: func(p *Proxier, _ *recorder) {
				p.SetService(web("1", 80))
				p.SetService(web("2", 80))
				time.Sleep(3 * second)
				p.Listed()
			},
			want: []call{{3 * second, "sync", "all"}},
		},
		{
			name: "at once for the first change after a quiet time",
			do: func(p *Proxier, _ *recorder) {
				p.Listed()
				time.Sleep(5 * second)
				p.SetService(web("1", 80))
			},
			want: []call{{0, "sync", "all"}, {5 * second, "sync", "[1]"}},
		},
		{
			name:  "no sooner than the period after the end of the last one, with all changes since",
			takes: 2 * second,
			do: func(p *Proxier, _ *recorder) {
				p.Listed()
				time.Sleep(second)
				p.SetService(web("1", 80))
				time.Sleep(second + second/2)
				p.SetService(web("2", 80))
			},
			want: []call{{0, "sync", "all"}, {3 * second, "sync", "[1 2]"}},
		},
		{
			name: "not for an object that came again as it was",
			do: func(p *Proxier, _ *recorder) {
				p.SetService(web("1", 80))
				p.Listed()
				time.Sleep(5 * second)
				p.SetService(web("1", 80))
			},
			want: []call{{0, "sync", "all"}},
		},
		{
			name: "again after an error, later each time, with what has not been written yet",
			do: func(p *Proxier, r *recorder) {
				p.Listed()
				time.Sleep(10 * second)
				r.mu.Lock()
				r.fail = 3
				r.mu.Unlock()
				p.SetService(web("1", 80))
				time.Sleep(2 * second)
				p.SetService(web("2", 80))
			},
			want: []call{
				{0, "sync", "all"},
				{10 * second, "sync", "[1]"}, {11 * second, "sync", "[1]"},
				{13 * second, "sync", "[1 2]"}, {17 * second, "sync", "[1 2]"},
			},
		},
		{
			name: "of everything when somebody has changed the rules",
			do: func(p *Proxier, r *recorder) {
				p.Listed()
				time.Sleep(10 * second)
				r.mu.Lock()
				r.drift = []string{"nat FL-SERVICES: the chain is gone"}
				r.mu.Unlock()
				time.Sleep(30 * second)
			},
			want: []call{{0, "sync", "all"}, {30 * second, "verify", "drift"}, {30 * second, "sync", "all"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := &recorder{start: time.Now(), takes: test.takes}
				p := New(service.NewBuilder(service.Options{Family: service.IPv4}), r, Options{MinSyncPeriod: second, SyncPeriod: 30 * second})
				go p.Run(ctx)
				test.do(p, r)
				time.Sleep(20 * second)
				r.mu.Lock()
				defer r.mu.Unlock()
				if diff := cmp.Diff(test.want, r.calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A kernel may lack what a family needs that the cluster does not use, such as ip6tables.
func TestHealthyWhereNothingIsToBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := &recorder{start: time.Now(), fail: 1000}
		p := New(service.NewBuilder(service.Options{Family: service.IPv4}), r, Options{MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
		go p.Run(ctx)
		p.Listed()
		for range 100 {
			time.Sleep(3 * time.Second)
			if !p.Healthy() {
				t.Fatal("not healthy without a Service")
			}
		}
		p.SetService(web("1", 80))
		time.Sleep(70 * time.Second)
		if p.Healthy() {
			t.Error("healthy while a Service waits")
		}
	})
}

func TestHealthyWhileChangesAreWrittenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := &recorder{start: time.Now()}
		p := New(service.NewBuilder(service.Options{Family: service.IPv4}), r, Options{MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
		go p.Run(ctx)
		p.Listed()
		time.Sleep(5 * time.Minute)
		if !p.Healthy() {
			t.Error("not healthy without a change")
		}
		r.mu.Lock()
		r.fail = 1000
		r.mu.Unlock()
		p.SetService(web("1", 80))
		time.Sleep(50 * time.Second)
		if !p.Healthy() {
			t.Error("not healthy within two sync periods")
		}
		time.Sleep(20 * time.Second)
		if p.Healthy() {
			t.Error("healthy while a change waits for longer than two sync periods")
		}
		r.mu.Lock()
		r.fail = 0
		r.mu.Unlock()
		time.Sleep(time.Minute)
		if !p.Healthy() {
			t.Error("not healthy again")
		}
	})
}
