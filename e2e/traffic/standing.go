package traffic

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fairlead/fairlead/e2e/lab"
)

// ErrMoved says that another endpoint answered than before.
var ErrMoved = errors.New("moved to another endpoint")

// stand opens a TCP connection and keeps it busy. What was sent has to come back, in order. Once broken it stays so: it is counted, and
// another would hide how long.
func (t *Traffic) stand(ctx context.Context, target Target) error {
	from := t.ports.fixed(target, "tcp")
	conn, err := target.From.Connect(ctx, target.To, lab.From(from), lab.Timeout(t.options.Patience), lab.Reset())
	if err != nil {
		return fmt.Errorf("open a standing connection, %s: %w", target, err)
	}
	t.running.Go(func() {
		defer conn.Close()
		t.keep(ctx, func(n int) bool {
			patient, cancel := context.WithTimeout(ctx, t.options.Patience)
			defer cancel()
			err := conn.Echo(patient, strconv.Itoa(n))
			if ctx.Err() != nil {
				return false
			}
			t.ledger.beat(Standing, target, from, err)
			return err == nil
		})
	})
	return nil
}

// flow asks from one UDP port again and again. Each question has to be answered, by who answered the first.
func (t *Traffic) flow(ctx context.Context, target Target) error {
	from := t.ports.fixed(target, "udp")
	conn, err := target.From.Flow(ctx, target.To, lab.From(from), lab.Timeout(t.options.Patience))
	if err != nil {
		return fmt.Errorf("open a flow, %s: %w", target, err)
	}
	server := conn.Answer.Server
	t.running.Go(func() {
		defer conn.Close()
		t.keep(ctx, func(int) bool {
			patient, cancel := context.WithTimeout(ctx, t.options.Patience)
			defer cancel()
			answer, err := conn.Again(patient)
			if ctx.Err() != nil {
				return false
			}
			if err == nil && answer.Server != server {
				err = fmt.Errorf("%w: from %s to %s", ErrMoved, server, answer.Server)
				server = answer.Server
			}
			t.ledger.beat(Flow, target, from, err)
			return true
		})
	})
	return nil
}
