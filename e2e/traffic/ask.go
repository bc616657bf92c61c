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

// udpShare makes one of so many rounds over all targets a round of UDP.
const udpShare = 2

// ask makes new connections at the rate that was asked for, or as fast as they are answered.
func (t *Traffic) ask(ctx context.Context) {
	if t.options.Rate == 0 || len(t.options.Targets) == 0 {
		return
	}
	for _, target := range t.options.Targets {
		for _, network := range []string{"tcp", "udp"} {
			if target.takes(network) {
				t.ledger.expect(source{kind: New, network: network, target: target})
			}
		}
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

// pace hands out questions. A question that has to wait for a free connection is not made up for later.
func (t *Traffic) pace(ctx context.Context, questions chan<- question) {
	ticker := time.NewTicker(time.Second / time.Duration(t.options.Rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		q := t.question(n)
		if !q.target.takes(q.network) {
			continue
		}
		select {
		case <-ticker.C:
		case <-t.quit:
			return
		case <-ctx.Done():
			return
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

// askOnce takes the host's next source port, as every question in the lab does.
func (t *Traffic) askOnce(ctx context.Context, q question) {
	answer, err := q.target.From.Ask(ctx, q.network, q.target.To, lab.Timeout(t.options.Patience), lab.Reset())
	if ctx.Err() != nil {
		return
	}
	t.ledger.asked(source{kind: New, network: q.network, target: q.target}, answer, err)
}
