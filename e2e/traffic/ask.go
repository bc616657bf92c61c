package traffic

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// question is one new connection to make.
type question struct {
	target  Target
	network string
}

// udpShare is of how many rounds over all targets one is UDP.
const udpShare = 4

// ask makes new connections at the rate that was asked for, or as fast as they are answered.
func (t *Traffic) ask(ctx context.Context) {
	if t.options.Rate == 0 || len(t.options.Targets) == 0 {
		return
	}
	questions := make(chan question)
	t.running.Go(func() {
		defer close(questions)
		t.pace(ctx, questions)
	})
	for range min(atOnce, t.options.Rate) {
		t.running.Go(func() {
			for q := range questions {
				t.askOnce(ctx, q)
			}
		})
	}
}

// pace hands out questions. Those that nobody takes are not made up for later.
func (t *Traffic) pace(ctx context.Context, questions chan<- question) {
	ticker := time.NewTicker(time.Second / time.Duration(t.options.Rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		q := t.question(n)
		select {
		case <-ticker.C:
		case <-t.quit:
			return
		case <-ctx.Done():
			return
		}
		if !q.target.takes(q.network) {
			continue
		}
		select {
		case questions <- q:
		case <-t.quit:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *Traffic) question(n int) question {
	q := question{target: t.options.Targets[n%len(t.options.Targets)], network: "tcp"}
	if n/len(t.options.Targets)%udpShare == udpShare-1 || q.target.Network == "udp" {
		q.network = "udp"
	}
	return q
}

func (t *Traffic) askOnce(ctx context.Context, q question) {
	from, ok := t.ports.next(q.target, q.network)
	if !ok {
		return // all have been used within two minutes: the rate that is reached says so
	}
	answer, err := q.target.From.Ask(ctx, q.network, q.target.To, lab.From(from), lab.Timeout(t.options.Patience), lab.Reset())
	if ctx.Err() != nil {
		return
	}
	t.ledger.asked(q, from, answer.Took, err)
}
