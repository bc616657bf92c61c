package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// way is one way to the pods: somebody who asks, and an address.
type way struct {
	kind  string // of address
	asker string
	from  *lab.Host
	to    netip.AddrPort
}

func (w way) String() string { return fmt.Sprintf("%s %s, from %s", w.kind, w.to, w.asker) }

// answers reports whether a pod answers yet.
func (w way) answers(ctx context.Context) error {
	_, err := w.from.Ask(ctx, "tcp", w.to, lab.Reset(), lab.Timeout(lab.AttemptTimeout))
	return err
}

// stillAnswers expects an answer at the first attempt.
func (w way) stillAnswers(ctx context.Context) error {
	_, err := w.from.AskPromptly(ctx, "tcp", w.to, lab.Reset())
	return err
}

// refuses returns how long a refusal takes. It expects the refusal of a connection's first packet, at one of a few attempts: between
// namespaces of one machine, a refusal can arrive while the kernel is still sending that packet, and then only the refusal of the
// next one, a second later, counts.
func (w way) refuses(ctx context.Context) (took time.Duration, err error) {
	const attempts = 5
	for range attempts {
		began := time.Now()
		answer, err := w.from.Ask(ctx, "tcp", w.to, lab.Reset())
		took = time.Since(began)
		switch {
		case err == nil:
			return 0, fmt.Errorf("%s answered at %s", answer.Server, w.to)
		case !errors.Is(err, lab.ErrRefused):
			return 0, err
		case answer.Resent == 0:
			return took, nil
		}
	}
	return 0, fmt.Errorf("none of %d connections to %s was refused at the first packet", attempts, w.to)
}

// outcome is what became of one connection.
type outcome struct {
	began  time.Time
	server netip.AddrPort // who answered
	err    error          // why nobody did
}

// traffic is a steady stream of connections by one way.
type traffic struct {
	way
	tick    *time.Ticker
	ended   chan struct{}
	workers sync.WaitGroup

	mu       sync.Mutex
	outcomes []outcome
}

// pace is the time from one connection to the next, and askers how many can wait for an answer at the same time.
const (
	pace   = 2 * time.Millisecond
	askers = 4
)

// startTraffic connects by a way again and again, until stop.
func startTraffic(ctx context.Context, w way) *traffic {
	t := &traffic{way: w, tick: time.NewTicker(pace), ended: make(chan struct{})}
	for range askers {
		t.workers.Go(func() {
			for {
				select {
				case <-t.ended:
					return
				case <-t.tick.C:
					t.connect(ctx)
				}
			}
		})
	}
	return t
}

func (t *traffic) connect(ctx context.Context) {
	o := outcome{began: time.Now()}
	var answer lab.Answer
	answer, o.err = t.from.AskPromptly(ctx, "tcp", t.to, lab.Reset())
	o.server = answer.Server
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcomes = append(t.outcomes, o)
}

// stop lets the last connections end, and starts no more.
func (t *traffic) stop() {
	t.tick.Stop()
	close(t.ended)
	t.workers.Wait()
}

// since returns what became of the connections that began at a time or later and have ended.
func (t *traffic) since(began time.Time) []outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []outcome
	for _, o := range t.outcomes {
		if !o.began.Before(began) {
			found = append(found, o)
		}
	}
	return found
}

// failures returns why connections failed.
func failures(outcomes []outcome) []error {
	var failed []error
	for _, o := range outcomes {
		if o.err != nil {
			failed = append(failed, o.err)
		}
	}
	return failed
}

// count tells who answered how often.
func count(outcomes []outcome) map[netip.AddrPort]int {
	counts := map[netip.AddrPort]int{}
	for _, o := range outcomes {
		if o.err == nil {
			counts[o.server]++
		}
	}
	return counts
}
