package proxier

import (
	"context"
	"time"
)

// On legacy iptables each sync of a large cluster copies the whole table, however little has changed. So where changes keep coming,
// syncs are rarer the dearer they are, and bring more changes at once.
const (
	restShare = 10 // how many times as long as the sync took
	// restMost keeps a change among others from showing later than with kube-proxy, which syncs a cluster of 10,000 Services in 3 s.
	restMost = 2500 * time.Millisecond
)

// pace says how far apart syncs are.
type pace struct {
	took   time.Duration // by the last one
	coming bool          // a change came while the one before rested
}

// note is deferred by a sync.
func (c *pace) note(start time.Time) { c.took = time.Since(start) }

// rest is how long the next sync has to stay away from the last one. One that came after a quiet time costs the next one nothing but
// least.
func (c *pace) rest(least time.Duration) time.Duration {
	if !c.coming {
		return least
	}
	return max(least, min(restShare*c.took, restMost))
}

// rest waits as long as the next sync has to stay away from the last one.
func (p *Proxier) rest(ctx context.Context) {
	wait := p.pace.rest(p.present.MinSyncPeriod)
	if p.failures > 0 {
		wait = max(p.present.MinSyncPeriod, backoff(p.failures, p.present.SyncPeriod))
		p.signal()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-p.hurry: // somebody asks for another mode, perhaps because this one fails
	case <-timer.C:
	}
	p.pace.coming = p.failures == 0 && len(p.wake) > 0
}
