package proxier

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestUnhealthyWhenAChangeThatCameDuringASyncIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := &recorder{start: time.Now(), takes: 2 * time.Second}
		p := New(service.NewBuilder(service.Options{Family: service.IPv4}), r, Options{MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
		go p.Run(ctx)
		p.Listed()
		time.Sleep(10 * time.Second)
		p.SetService(web("1", 80))
		time.Sleep(time.Second)
		p.SetService(web("2", 80))
		time.Sleep(1500 * time.Millisecond) // the first has been written
		r.mu.Lock()
		r.takes = time.Hour
		r.mu.Unlock()
		time.Sleep(58 * time.Second)
		if !p.Healthy() {
			t.Error("not healthy within two sync periods")
		}
		time.Sleep(time.Second)
		if p.Healthy() {
			t.Error("healthy while a change waits for longer than two sync periods")
		}
		time.Sleep(2 * time.Hour)
		if !p.Healthy() {
			t.Error("not healthy again")
		}
	})
}

func TestTheLagDoesNotFollowTheWallClock(t *testing.T) {
	var l lag
	l.changed()
	for range 2 {
		if oldest := l.oldest(); oldest.IsZero() || !strings.Contains(oldest.String(), " m=") {
			t.Errorf("%v has no monotonic clock reading", oldest)
		}
		l.taken()
	}
}
