package proxier

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"
)

// SetMode has the Proxier forward in another Mode from now on, or in the same one by other periods. It returns at once. The Mode in force
// serves until the other one has been written in full and found so; from then on that one gets the new connections, and the former is
// kept in step with the cluster as long as connections stand that need it, and is removed after that. Where the other one cannot
// be written, what there is of it is taken away, and it is tried again, while the one in force goes on.
func (p *Proxier) SetMode(m Mode) {
	p.mu.Lock()
	p.asked = &m
	listed := p.listed
	p.mu.Unlock()
	if listed {
		p.nudge()
		select {
		case p.hurry <- struct{}{}:
		default: // it is told already
		}
	}
}

// Mode is the name of the Mode in force.
func (p *Proxier) Mode() string { return p.mode.Load().Name }

// Needed reports whether the family has a Service.
func (p *Proxier) Needed() bool { return p.needed.Load() }

// setOut takes up what SetMode has asked for.
func (p *Proxier) setOut() {
	p.mu.Lock()
	asked := p.asked
	p.asked = nil
	p.mu.Unlock()
	if asked == nil {
		return
	}
	select {
	case <-p.hurry: // that was it
	default:
	}
	if p.next != nil {
		p.leave(p.next)
		p.next = nil
	}
	delete(p.said, switching)
	if asked.Name == p.present.Name {
		p.present.setPeriods(*asked)
		p.inForce()
		return
	}
	p.next = newSide(*asked)
	for i, s := range p.former {
		if s.Name == asked.Name {
			p.former = slices.Delete(p.former, i, i+1)
			// What is in the kernel goes over to the new Backend, which may have other settings.
			p.next.kept = s.kept
			s.close()
			return
		}
	}
}

func (s *side) setPeriods(m Mode) {
	s.MinSyncPeriod, s.SyncPeriod, s.DrainTimeout = m.MinSyncPeriod, m.SyncPeriod, m.DrainTimeout
}

// inForce tells everybody else which Mode that is.
func (p *Proxier) inForce() {
	m := p.present.Mode
	p.mode.Store(&m)
	p.verify.Reset(m.SyncPeriod)
}

// advance brings the next Mode into force, if there is one and it is its time.
func (p *Proxier) advance(ctx context.Context) {
	s := p.next
	if s == nil {
		return
	}
	if time.Now().Before(s.due) {
		p.keep(ctx, s)
		return
	}
	start := time.Now()
	if err := s.prepare(ctx); err != nil {
		if ctx.Err() == nil {
			p.stay(ctx, err)
		}
		return
	}
	former := p.present
	p.present, p.next = s, nil
	p.failures, s.fails, s.leaving = 0, 0, leaving{}
	delete(p.said, syncing)
	delete(p.said, switching)
	p.lag.written()
	p.observe(Sync{Written: true, Full: true, Took: time.Since(start)})
	p.inForce()
	p.leave(former)
	klog.FromContext(ctx).Info("Switched the mode; connections of the former one go on", "from", former.Name, "to", s.Name, "took", time.Since(start))
	p.report(ctx, s)
	p.follow(ctx, nil)
	if p.options.Switched != nil {
		p.options.Switched(former.Name, s.Name, nil)
	}
}

// prepare writes all of a Mode and looks whether it is there. A few service ports that cannot be written do not prevent the switch, but
// they are tried twice: the mode in force may serve them.
func (s *side) prepare(ctx context.Context) error {
	s.dirty = nil
	if err := s.sync(ctx); err != nil {
		return err
	}
	if len(s.unwritten.ports) > 0 {
		if err := s.sync(ctx); err != nil {
			return err
		}
	}
	drift, err := s.Backend.Verify(ctx)
	if err != nil {
		return fmt.Errorf("look whether it is in the kernel: %w", err)
	}
	if len(drift) > 0 {
		return fmt.Errorf("the kernel does not hold what was written: %s", drift[0])
	}
	return nil
}

// stay goes on in the Mode in force after the next one failed, which is not reported where the family has no Service. What there is of that one
// must go, unless connections need it: it may have served some already, now or in a former run. Where none is in force yet, it may be all
// that serves, and stays as it is.
func (p *Proxier) stay(ctx context.Context, err error) {
	s := p.next
	s.later()
	logger := klog.FromContext(ctx).WithValues("from", p.present.Name, "to", s.Name)
	needless := len(s.table.Ports) == 0
	if needless {
		p.onceUnneeded(logger, err)
	} else {
		p.once(logger, switching, err)
	}
	if !s.kept && p.present.written != nil {
		p.withdraw(ctx, s)
	}
	if !needless && !s.reported && p.options.Switched != nil {
		s.reported = true
		p.options.Switched(p.present.Name, s.Name, err)
	}
}

// onceUnneeded logs that the mode of a family without Services cannot be switched, as in the IPv6 of an IPv4 cluster on a kernel without
// ip6tables. Nothing depends on that.
func (p *Proxier) onceUnneeded(logger klog.Logger, err error) {
	if p.said[switching] == "" {
		logger.Info("Could not switch the mode of an IP family without Services; it will be tried again", "reason", err.Error())
	}
	p.said[switching] = "without Services: " + err.Error()
}

// withdraw takes away what there is of a Mode that could not be written, unless connections need it. After an error it stays as it is.
func (p *Proxier) withdraw(ctx context.Context, s *side) {
	left, err := s.Backend.Drain(ctx)
	if err != nil || left > 0 {
		if err != nil {
			p.once(klog.FromContext(ctx), draining, err)
		}
		s.kept = err == nil
		p.jumpsMayBeOutOfOrder()
		return
	}
	s.written = nil
	if err := s.Backend.Remove(ctx); err != nil {
		p.once(klog.FromContext(ctx), removing, err)
	}
}

// leave puts a side among those that go. One that was to come back has connections still.
func (p *Proxier) leave(s *side) {
	s.due, s.fails, s.leaving, s.drift = time.Time{}, 0, leaving{kept: s.kept}, nil
	p.former = append(p.former, s)
}

// sides are all that follow the cluster.
func (p *Proxier) sides() []*side {
	list := append([]*side{p.present}, p.former...)
	if p.next != nil {
		list = append(list, p.next)
	}
	return list
}

// others does what there is to do for all sides but the one in force. Nothing of a former Mode goes before the one in force serves.
func (p *Proxier) others(ctx context.Context) {
	p.advance(ctx)
	if p.present.written != nil {
		p.former = slices.DeleteFunc(p.former, func(s *side) bool { return p.drain(ctx, s) })
	}
}

// schedule sets the timer of what has to be done without a change in the cluster: for the other sides, and for service ports that could not
// be written.
func (p *Proxier) schedule() {
	var due []time.Time
	if p.present.written != nil {
		for _, s := range p.former {
			due = append(due, s.due)
		}
	}
	if p.next != nil {
		due = append(due, p.next.due)
	}
	if len(p.present.unwritten.ports) > 0 {
		due = append(due, p.present.unwritten.due)
	}
	p.turn.Stop()
	if len(due) > 0 {
		p.turn.Reset(max(0, time.Until(slices.MinFunc(due, time.Time.Compare))))
	}
}
