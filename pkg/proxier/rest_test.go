package proxier

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestDearSyncsAreRarerOnlyWhileChangesKeepComing(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name    string
		takes   time.Duration
		changes []time.Duration
		want    []time.Duration
	}{
		{
			name:    "changes far apart are written at once, however dear",
			takes:   300 * ms,
			changes: []time.Duration{10 * time.Second, 12 * time.Second, 14 * time.Second},
			want:    []time.Duration{10 * time.Second, 12 * time.Second, 14 * time.Second},
		},
		{
			name:    "the second of two waits the least time",
			takes:   300 * ms,
			changes: []time.Duration{10 * time.Second, 10*time.Second + 100*ms},
			want:    []time.Duration{10 * time.Second, 11*time.Second + 300*ms},
		},
		{
			name:    "the third waits ten times as long as the second took",
			takes:   200 * ms,
			changes: []time.Duration{10 * time.Second, 11 * time.Second, 12 * time.Second},
			want:    []time.Duration{10 * time.Second, 11*time.Second + 200*ms, 13*time.Second + 400*ms},
		},
		{
			name:    "none waits longer than two and a half seconds",
			takes:   time.Second,
			changes: []time.Duration{10 * time.Second, 11 * time.Second, 12*time.Second + 500*ms},
			want:    []time.Duration{10 * time.Second, 12 * time.Second, 15*time.Second + 500*ms},
		},
		{
			name:    "cheap ones come once in the least time",
			takes:   10 * ms,
			changes: []time.Duration{10 * time.Second, 10*time.Second + 100*ms, 11*time.Second + 100*ms},
			want:    []time.Duration{10 * time.Second, 11*time.Second + 10*ms, 12*time.Second + 20*ms},
		},
		{
			name:    "after a quiet time the next one is written at once again",
			takes:   300 * ms,
			changes: []time.Duration{10 * time.Second, 11 * time.Second, 12 * time.Second, 20 * time.Second, 21*time.Second + 400*ms},
			want: []time.Duration{10 * time.Second, 11*time.Second + 300*ms, 14*time.Second + 100*ms, 20 * time.Second,
				21*time.Second + 400*ms},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := &recorder{start: time.Now(), takes: test.takes}
				p := New(service.NewBuilder(service.Options{Family: service.IPv4}), r, Options{MinSyncPeriod: time.Second, SyncPeriod: time.Hour})
				go p.Run(ctx)
				p.Listed()
				for n, at := range test.changes {
					time.Sleep(time.Until(r.start.Add(at)))
					p.SetService(web(strconv.Itoa(n+1), 80))
				}
				time.Sleep(20 * time.Second)
				r.mu.Lock()
				defer r.mu.Unlock()
				var got []time.Duration
				for _, c := range r.calls[1:] { // the first is of the start
					got = append(got, c.At)
				}
				if len(got) != len(test.want) {
					t.Fatalf("syncs at %v, want %v", got, test.want)
				}
				for i := range got {
					if got[i] != test.want[i] {
						t.Errorf("syncs at %v, want %v", got, test.want)
					}
				}
			})
		})
	}
}
