package proxier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// diary is an Observer that writes down what it is told.
type diary struct {
	mu      sync.Mutex
	entries []string
	queued  int
	phases  map[Phase]int
}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) ServiceChanged()   { d.write("service") }
func (d *diary) EndpointsChanged() { d.write("endpoints") }
func (d *diary) Failed(f Failure)  { d.write("%s failed %d full=%v", f.Task, f.InARow, f.Full) }

func (d *diary) Queued() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queued++
}

func (d *diary) Synced(s Sync) {
	d.write("synced written=%v full=%v services=%d endpoints=%d delays=%v", s.Written, s.Full, s.Services, s.Endpoints, s.Delays)
}

func (d *diary) Took(phase Phase, _ time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phases == nil {
		d.phases = map[Phase]int{}
	}
	d.phases[phase]++
}

func (d *diary) Traffic(t service.TrafficCounts) { d.write("traffic %v", t.Ports) }

func (d *diary) Repaired(drift []string) { d.write("repaired %v", drift) }

// repairs are the entries about drift.
func (d *diary) repairs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.entries), func(e string) bool { return !strings.HasPrefix(e, "repaired ") })
}

// slice is that of a Service, and was written because of something that happened some time ago.
func slice(name string, ago time.Duration, endpoints ...string) *discoveryv1.EndpointSlice {
	s := servicetest.Slice(name, name, []string{":8080"}, endpoints...)
	s.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)}
	return s
}

func TestAnObserverIsTold(t *testing.T) {
	const second = time.Second
	first := "synced written=true full=true services=1 endpoints=1 delays=[]"
	tests := []struct {
		name string
		do   func(p *Proxier, r *recorder)
		want []string
	}{
		{"how long a change took, and not how old a slice was at the start", func(p *Proxier, _ *recorder) {
			p.SetSlice(slice("1", 2*second, "10.244.1.2"))
		}, []string{"endpoints", "synced written=true full=false services=0 endpoints=1 delays=[2s]"}},
		{"of a slice that came again as it was, nothing", func(p *Proxier, _ *recorder) {
			p.SetSlice(slice("1", second, "10.244.1.1"))
		}, nil},
		{"how long a change took that had to wait", func(p *Proxier, r *recorder) {
			r.mu.Lock()
			r.fail = 2
			r.mu.Unlock()
			p.SetSlice(slice("1", 2*second, "10.244.1.2"))
		}, []string{"endpoints", "sync failed 1 full=false", "sync failed 2 full=false", "synced written=true full=false services=0 endpoints=1 delays=[5s]"}},
		{"of a change that changes nothing", func(p *Proxier, _ *recorder) {
			p.SetService(web("1", 80))
		}, []string{"service", "synced written=false full=false services=1 endpoints=0 delays=[]"}},
		{"of another mode, that all has been written", func(p *Proxier, _ *recorder) {
			p.SetMode(Mode{Name: "other", Backend: &recorder{start: time.Now(), takes: second}, MinSyncPeriod: second, SyncPeriod: 30 * second})
		}, []string{
			"synced written=false full=false services=0 endpoints=0 delays=[]",
			"synced written=true full=true services=0 endpoints=0 delays=[]",
		}},
		{"of drift, when it has been repaired", func(_ *Proxier, r *recorder) {
			r.mu.Lock()
			r.drift, r.fail = []string{"the chain is gone"}, 1
			r.mu.Unlock()
			time.Sleep(30 * second)
		}, []string{"sync failed 1 full=true", "synced written=true full=true services=0 endpoints=0 delays=[]", "repaired [the chain is gone]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, d := &recorder{start: time.Now()}, &diary{}
				builder := service.NewBuilder(service.Options{Family: service.IPv4})
				p := New(builder, r, Options{MinSyncPeriod: second, SyncPeriod: 30 * second, Observer: d})
				go p.Run(ctx)
				p.SetService(web("1", 80))
				p.SetSlice(slice("1", time.Hour, "10.244.1.1"))
				p.Listed()
				time.Sleep(10 * second)
				test.do(p, r)
				time.Sleep(15 * second)
				d.mu.Lock()
				defer d.mu.Unlock()
				want := append([]string{"service", "endpoints", first}, test.want...)
				if diff := cmp.Diff(want, d.entries); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if d.queued == 0 {
					t.Error("nothing was queued")
				}
				for _, phase := range []Phase{PhaseBuild, PhaseWrite, PhaseFollow} {
					if d.phases[phase] == 0 {
						t.Errorf("phase %s was not timed", phase)
					}
				}
			})
		})
	}
}

func TestTimesOfChangesAreBounded(t *testing.T) {
	var seen, pending changes
	for range 3 {
		for range mostTriggers {
			seen.trigger(slice("1", 0), time.Time{})
		}
		pending.add(&seen)
	}
	if len(pending.triggers) != mostTriggers || len(seen.triggers) != 0 {
		t.Errorf("%d and %d are kept", len(pending.triggers), len(seen.triggers))
	}
}

// meter is a Backend that counts one more connection each time it is verified.
type meter struct {
	recorder
	more *service.TrafficCounts
}

func (m *meter) Verify(ctx context.Context) ([]string, error) {
	m.more = &service.TrafficCounts{Ports: map[service.PortName]service.Traffic{{Name: "web"}: {Connections: 1}}}
	return m.recorder.Verify(ctx)
}

func (m *meter) TakeTraffic() *service.TrafficCounts {
	more := m.more
	m.more = nil
	return more
}

func TestTrafficIsReportedAfterEachVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		d := &diary{}
		p := New(service.NewBuilder(service.Options{Family: service.IPv4}), &meter{recorder: recorder{start: time.Now()}},
			Options{MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, Observer: d})
		go p.Run(ctx)
		p.SetService(web("1", 80))
		p.Listed()
		time.Sleep(100 * time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		reports := slices.DeleteFunc(d.entries, func(e string) bool { return !strings.HasPrefix(e, "traffic ") })
		if len(reports) != 3 || d.phases[PhaseVerify] != 3 {
			t.Errorf("in three sync periods: %d times verified, reports %q", d.phases[PhaseVerify], reports)
		}
	})
}
