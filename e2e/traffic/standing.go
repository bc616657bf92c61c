package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/fairlead/fairlead/e2e/lab"
)

var (
	// ErrMoved means that another endpoint answered than before.
	ErrMoved = errors.New("moved to another endpoint")
	// ErrLost means that a packet was lost which opens a connection, even though TCP made up for it.
	ErrLost = errors.New("packets were lost")
)

// stand opens a TCP connection and keeps it busy. What is sent has to come back, in order. A broken connection is counted once, and is not
// replaced.
func (t *Traffic) stand(ctx context.Context, target Target) error {
	from := standingPort(target)
	conn, err := target.From.Connect(ctx, target.To, lab.From(from), lab.Reset())
	if err != nil {
		return fmt.Errorf("open a standing connection, %s: %w", target, err)
	}
	who := source{kind: Standing, network: "tcp", target: target, port: from.Port()}
	t.ledger.expect(who)
	before := conn.Resent()
	t.running.Go(func() {
		defer conn.Close()
		t.keep(ctx, func(n int) bool {
			patient, cancel := context.WithTimeout(ctx, t.options.Patience)
			defer cancel()
			err := conn.Echo(patient, strconv.Itoa(n))
			if ctx.Err() != nil {
				return false
			}
			resent := conn.Resent()
			t.ledger.beat(who, resent-before, err)
			before = resent
			return err == nil
		})
	})
	return nil
}

// flow asks from one UDP port again and again. Each question has to be answered by the server that answered the first.
func (t *Traffic) flow(ctx context.Context, target Target) error {
	from := standingPort(target)
	conn, err := target.From.Flow(ctx, target.To, lab.From(from))
	if err != nil {
		return fmt.Errorf("open a flow, %s: %w", target, err)
	}
	who := source{kind: Flow, network: "udp", target: target, port: from.Port()}
	t.ledger.expect(who)
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
			t.ledger.beat(who, 0, err)
			return true
		})
	})
	return nil
}

// standingPort leaves the address to the kernel.
func standingPort(target Target) netip.AddrPort {
	f := lab.IPv6
	if target.To.Addr().Is4() {
		f = lab.IPv4
	}
	return lab.Wildcard(f, target.From.StandingPort())
}
