package proxier

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

const (
	// drainPeriod is how often the connections are counted that need a Mode which is left.
	drainPeriod = 5 * time.Second
	// drainShare is the most that counting may take of the time, one part of so many, unless they would be counted too rarely then for the
	// former mode to be gone within a minute of its last connection.
	drainShare   = 50
	drainLongest = 20 * time.Second
)

// drain brings a Mode that is left closer to its end, and reports whether it has come.
func (p *Proxier) drain(ctx context.Context, s *side) (ended bool) {
	logger := klog.FromContext(ctx).WithValues("mode", s.Name)
	p.keep(ctx, s)
	now := time.Now()
	if now.Before(s.due) {
		return false
	}
	if s.until.IsZero() {
		s.until = now.Add(s.DrainTimeout)
	}
	if !s.gone && !p.drained(ctx, logger, s) {
		return false
	}
	if err := s.Backend.Remove(ctx); err != nil {
		if ctx.Err() == nil {
			p.once(logger, removing, err)
		}
		s.later()
		return false
	}
	delete(p.said, removing)
	if s.written != nil || s.kept {
		logger.Info("Nothing of the former mode is left in the kernel")
	}
	return true
}

// keep brings a side that is not in force in step with the cluster, as long as connections need it.
func (p *Proxier) keep(ctx context.Context, s *side) {
	if !s.kept || s.gone || s.upToDate() {
		return
	}
	if err := s.sync(ctx); err != nil {
		if ctx.Err() == nil {
			p.once(klog.FromContext(ctx).WithValues("mode", s.Name), keeping, err)
		}
		return
	}
	delete(p.said, keeping)
	p.repaired(s)
	p.report(ctx, s)
}

// drained reports whether no connection needs a Mode any more, or their time is over. After an error the Mode is not synced for the first
// time: that could make it get new connections again.
func (p *Proxier) drained(ctx context.Context, logger klog.Logger, s *side) bool {
	start := time.Now()
	left, err := s.Backend.Drain(ctx)
	if ctx.Err() != nil {
		return false
	}
	inTime := start.Before(s.until)
	switch {
	case err != nil && inTime:
		p.once(logger, draining, err)
		s.later()
	case left > 0 && inTime:
		if !s.kept {
			logger.Info("Connections of the former mode go on; it stays for them", "connections", left, "most", s.DrainTimeout)
		}
		s.kept, s.fails = true, 0
		s.due = time.Now().Add(min(max(drainPeriod, drainShare*time.Since(start)), drainLongest))
	case err != nil:
		logger.Error(err, "Could not find out in time whether connections need the former mode; it is removed", "time", s.DrainTimeout)
		return p.end(s)
	case left > 0:
		logger.Info("Connections of the former mode have had their time and end now", "connections", left, "time", s.DrainTimeout)
		return p.end(s)
	default:
		return p.end(s)
	}
	if s.due.After(s.until) {
		s.due = s.until
	}
	return false
}

// end notes that nothing needs a Mode any more, and returns true.
func (p *Proxier) end(s *side) bool {
	delete(p.said, draining)
	delete(p.said, keeping)
	s.gone, s.fails = true, 0
	return true
}
