package health

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// The pauses between attempts to listen: each is double the one before, up to the last.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// open listens on every address on which the check does not yet. Where one cannot be had the others are kept: a load balancer
// asks one address of a node, and that may be among them. mu is held.
func (s *Servers) open(c *check) *failure {
	var problem error
	for _, address := range s.addresses {
		if c.listeners[address] != nil {
			continue
		}
		l, err := s.listen(s.family, netip.AddrPortFrom(address, c.port), &c.answer)
		switch {
		case err == nil:
			c.listeners[address] = l
			s.running.Go(func() { s.serve(c, address, l) })
		case problem == nil:
			problem = err
		default:
			problem = fmt.Errorf("%w; %w", problem, err)
		}
	}
	if problem == nil {
		c.recovered()
		return nil
	}
	s.retryLater(c)
	return c.failed(problem)
}

// serve answers on one listener until it ends. One that ends by itself, for want of kernel memory say, is opened again.
func (s *Servers) serve(c *check, address netip.Addr, l *listener) {
	err := l.serve()
	if f := s.lost(c, address, l, err); f != nil {
		s.tell(f)
	}
}

// lost takes note of a listener that has ended. It returns nil where the listener had been given up before.
func (s *Servers) lost(c *check, address netip.Addr, l *listener, err error) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.listeners[address] != l {
		return nil
	}
	delete(c.listeners, address)
	l.close()
	s.retryLater(c)
	return c.failed(err)
}

// retryLater has the check tried again from time to time until it listens everywhere or is gone. mu is held.
func (s *Servers) retryLater(c *check) {
	if c.stopRetry != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stopRetry = stop
	s.running.Go(func() { s.retry(ctx, c) })
}

// retry tries until it works or ctx is done. Nobody is told of its failures: they are the one that began it.
func (s *Servers) retry(ctx context.Context, c *check) {
	for pause := s.pause; ; pause = min(2*pause, lastPause) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			s.openAgain(ctx, c)
		}
	}
}

// openAgain tries once. Success ends ctx.
func (s *Servers) openAgain(ctx context.Context, c *check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		_ = s.open(c)
	}
}
