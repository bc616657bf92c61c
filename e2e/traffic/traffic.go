package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// Target is one way in that one host uses.
type Target struct {
	// Name is for people: "pod to cluster IP".
	Name string
	From *lab.Host
	To   netip.AddrPort
	// Network is "tcp" or "udp", or nothing for both.
	Network string
}

// String names the target in a report.
func (t Target) String() string { return fmt.Sprintf("%s %s", t.Name, t.To) }

func (t Target) takes(network string) bool { return t.Network == "" || t.Network == network }

// Options say how much traffic there is. Each number is spread evenly over the targets.
type Options struct {
	Targets []Target
	// Standing TCP connections, on which data goes to and fro all the time: 100; less than 0: none.
	Standing int
	// Flows of UDP, each from a port that stays the same: 14; less than 0: none.
	Flows int
	// Rate is how many new connections and questions to make in a second: 200; less than 0: none. There are fewer where those before
	// them are answered more slowly.
	Rate int
	// Beat is the time between two questions on a standing connection or a flow.
	Beat time.Duration
	// Patience is how long an answer may take.
	Patience time.Duration
}

func (o Options) withDefaults() Options {
	o.Standing = number(o.Standing, 100)
	o.Flows = number(o.Flows, 14)
	o.Rate = number(o.Rate, 200)
	if o.Beat == 0 {
		o.Beat = lab.Patience(250 * time.Millisecond)
	}
	if o.Patience == 0 {
		o.Patience = lab.Patience(5 * time.Second)
	}
	return o
}

func number(n, usual int) int {
	if n == 0 {
		return usual
	}
	return max(n, 0)
}

// Traffic is what is going on.
type Traffic struct {
	options Options
	ports   ports
	ledger  ledger

	quit    chan struct{} // closed by Stop: nobody asks anything new
	running sync.WaitGroup
}

// atOnce is how many new connections are under way at the same time, at most.
const atOnce = 16

// Start opens the standing connections and flows, and returns when all of them have been answered. It fails where one is not. The end
// of ctx ends the traffic too, without waiting for answers.
func Start(ctx context.Context, options Options) (*Traffic, error) {
	t := &Traffic{options: options.withDefaults(), quit: make(chan struct{})}
	t.ledger.began = time.Now()
	tcp, udp := t.targets("tcp"), t.targets("udp")
	if len(tcp) == 0 || t.options.Standing == 0 {
		tcp, t.options.Standing = nil, 0
	}
	if len(udp) == 0 || t.options.Flows == 0 {
		udp, t.options.Flows = nil, 0
	}
	openings := make(chan func() error, t.options.Standing+t.options.Flows)
	for i := range t.options.Standing {
		openings <- func() error { return t.stand(ctx, tcp[i%len(tcp)]) }
	}
	for i := range t.options.Flows {
		openings <- func() error { return t.flow(ctx, udp[i%len(udp)]) }
	}
	close(openings)
	if err := all(openings); err != nil {
		t.Stop()
		return nil, err
	}
	t.ask(ctx)
	return t, nil
}

// all calls functions, a few at once, and joins their errors.
func all(functions <-chan func() error) error {
	var (
		mu     sync.Mutex
		failed []error
		wg     sync.WaitGroup
	)
	for range atOnce {
		wg.Go(func() {
			for f := range functions {
				if err := f(); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(failed) > shown {
		failed = append(failed[:shown:shown], fmt.Errorf("and %d more", len(failed)-shown))
	}
	return errors.Join(failed...)
}

func (t *Traffic) targets(network string) []Target {
	return slices.DeleteFunc(slices.Clone(t.options.Targets), func(target Target) bool { return !target.takes(network) })
}

// Report is what has happened so far.
func (t *Traffic) Report() Report { return t.ledger.report(t.options) }

// Stop asks nothing more, waits for the answers that are still due, and ends all connections.
func (t *Traffic) Stop() Report {
	select {
	case <-t.quit:
	default:
		close(t.quit)
	}
	t.running.Wait()
	return t.Report()
}

// keep runs a beat at once and then again and again, until it returns false or the traffic is stopped.
func (t *Traffic) keep(ctx context.Context, beat func(n int) bool) {
	ticker := time.NewTicker(t.options.Beat)
	defer ticker.Stop()
	for n := 1; beat(n); n++ {
		select {
		case <-ticker.C:
		case <-t.quit:
			return
		case <-ctx.Done():
			return
		}
	}
}
