package proxier

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// inspect compares the kernel with what it should hold and repairs it, for the Mode in force and for those that are kept for their
// connections. It reports whether the Mode in force was written.
func (p *Proxier) inspect(ctx context.Context) (wrote bool) {
	if s := p.present; p.failures == 0 && s.written != nil {
		p.check(ctx, s)
		wrote = p.sync(ctx)
	}
	for _, s := range p.sides()[1:] {
		if !s.kept || s.gone || s.written == nil {
			continue
		}
		p.check(ctx, s)
		p.keep(ctx, s)
	}
	return wrote
}

// check sees to it that all of a side is written with its next sync, if that is needed.
func (p *Proxier) check(ctx context.Context, s *side) {
	if !p.retired(ctx, s) || p.drifted(ctx, s) {
		s.dirty = nil
	}
}

// jumpsMayBeOutOfOrder has all of the Mode in force written soon: jumps of another Mode may have been added before its own, which a full sync
// corrects.
func (p *Proxier) jumpsMayBeOutOfOrder() {
	p.present.dirty = nil
	p.nudge()
}

// retired removes the endpoints that are only kept for connections which have ended, and reports whether that went well.
func (p *Proxier) retired(ctx context.Context, s *side) bool {
	r, retires := s.Backend.(Retirer)
	if !retires {
		return true
	}
	start := time.Now()
	err := r.Retire(ctx)
	p.phase(PhaseRetire, start)
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		p.options.Observer.Failed(Failure{Task: TaskRetire, Err: err, InARow: 1})
		once(klog.FromContext(ctx).WithValues("mode", s.Name), s.said, retiring, err)
		return false
	}
	delete(s.said, retiring)
	return true
}

// drifted compares the kernel with what a side should have there, and notes and logs what another program has changed.
func (p *Proxier) drifted(ctx context.Context, s *side) bool {
	const shown = 5
	logger := klog.FromContext(ctx).WithValues("mode", s.Name)
	start := time.Now()
	drift, err := s.Backend.Verify(ctx)
	p.phase(PhaseVerify, start)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		p.options.Observer.Failed(Failure{Task: TaskVerify, Err: err, InARow: 1})
		once(logger, s.said, verifying, err)
		return false
	}
	delete(s.said, verifying)
	if s == p.present {
		p.counted()
	}
	s.drift = drift
	logger.V(4).Info("Verified", "differences", len(drift))
	if len(drift) > 0 {
		logger.Info("Repairing rules that another program has changed", "differences", len(drift), "first", drift[:min(shown, len(drift))])
	}
	return len(drift) > 0
}

// repaired tells of the drift of a Mode that is not in force, after it has been synced.
func (p *Proxier) repaired(s *side) {
	if len(s.drift) == 0 {
		return
	}
	named := make([]string, 0, len(s.drift))
	for _, d := range s.drift {
		named = append(named, fmt.Sprintf("%s mode, which only serves connections that it already had: %s", s.Name, d))
	}
	s.drift = nil
	p.options.Observer.Repaired(named)
	p.jumpsMayBeOutOfOrder()
}
