package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// Target is a path to a Service: a client and the address that it uses.
type Target struct {
	// Name is for reports: "pod to cluster IP".
	Name string
	From *lab.Host
	To   netip.AddrPort
	// Network is "tcp" or "udp", or empty for both.
	Network string
}

// String names the target in a report.
func (t Target) String() string { return fmt.Sprintf("%s %s", t.Name, t.To) }

func (t Target) takes(network string) bool { return t.Network == "" || t.Network == network }

// Options say how much traffic there is. Each number is spread evenly over the targets.
type Options struct {
	Targets []Target
	// Standing TCP connections, on which data is echoed all the time: 100; less than 0: none.
	Standing int
	// Flows of UDP, each from a port that stays the same: 16; less than 0: none.
	Flows int
	// Rate is how many new connections and UDP requests to make in a second: 200; less than 0: none. There are fewer where they are
	// answered more slowly.
	Rate int
	// Beat is the time between two requests on a standing connection or a flow.
	Beat time.Duration
	// Patience is how long to wait for an answer before it counts as lost: lab.AnswerTimeout.
	Patience time.Duration
}

func (o Options) withDefaults() Options {
	o.Standing = number(o.Standing, 100)
	o.Flows = number(o.Flows, 16)
	o.Rate = number(o.Rate, 200)
	if o.Beat == 0 {
		o.Beat = lab.Patience(250 * time.Millisecond)
	}
	if o.Patience == 0 {
		o.Patience = lab.AnswerTimeout
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
	ledger  ledger

	quit    chan struct{} // closed by Stop: nothing new is asked
	running sync.WaitGroup
}

// atOnce is how many new connections are under way at the same time, at most.
const atOnce = 16

// Run is Start for a test, which fails unless everything is answered. The traffic ends with the test.
func Run(t testing.TB, options Options) *Traffic {
	t.Helper()
	traffic, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { traffic.Stop() })
	return traffic
}

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

// More waits until each standing connection and each flow has been answered so many times more, and each target as many times over a new TCP
// connection and over UDP. It ends the test at the first failure.
func (t *Traffic) More(tb testing.TB, times int) {
	tb.Helper()
	before := t.ledger.answers()
	for deadline := time.Now().Add(lab.Patience(time.Minute)); ; time.Sleep(20 * time.Millisecond) {
		if t.ledger.failures() > 0 {
			t.Report().Check(tb)
			tb.FailNow()
		}
		late := t.ledger.fewer(before, times)
		if len(late) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d have not been answered %d times more, such as %s: %v", len(late), times, late[0], t.Report())
		}
	}
}

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
