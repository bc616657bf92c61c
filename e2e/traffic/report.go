package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kind is what sort of traffic failed.
type Kind string

// The kinds.
const (
	Standing Kind = "standing connection"
	Flow     Kind = "UDP flow"
	New      Kind = "new connection"
)

// Failure is something that did not go as it has to. Its error is lab.ErrRefused, lab.ErrTimeout or ErrMoved where it was one of these.
type Failure struct {
	At      time.Time
	Kind    Kind
	Network string
	Target  Target
	Port    uint16 // the source port
	Err     error
}

// String is one line.
func (f Failure) String() string {
	return fmt.Sprintf("%s %s %s from port %d, %s: %v", f.At.Format("15:04:05.000"), f.Network, f.Kind, f.Port, f.Target, f.Err)
}

// Report is what became of the traffic.
type Report struct {
	Took time.Duration
	// Standing connections and Flows that were opened, and how often they were answered.
	Standing, Flows     int
	Echoes, FlowAnswers int
	// Asked is how many new connections and questions were made, Answered how many of them were answered, and Rate that in a second.
	Asked, Answered int
	Rate            float64
	// Slowest is the longest time that a new connection took, and Late how many took a second and more: the first packet got lost, or
	// the machine is slow.
	Slowest time.Duration
	Late    int
	// Failed counts the failures of each kind, and First has those that came first.
	Failed map[Kind]int
	First  []Failure
}

// String sums it up in a line.
func (r Report) String() string {
	return fmt.Sprintf("%v: %d echoes on %d standing connections, %d answers on %d UDP flows, %d of %d new connections answered (%.0f/s, slowest %v, %d late)",
		r.Took.Round(time.Millisecond), r.Echoes, r.Standing, r.FlowAnswers, r.Flows, r.Answered, r.Asked, r.Rate, r.Slowest.Round(time.Millisecond), r.Late)
}

// Failures is how many there were.
func (r Report) Failures() int {
	n := 0
	for _, f := range r.Failed {
		n += f
	}
	return n
}

// Check logs what happened, and fails the test where anything failed, or nothing was asked.
func (r Report) Check(t testing.TB) {
	t.Helper()
	t.Log(r)
	if r.Echoes+r.FlowAnswers+r.Answered == 0 {
		t.Error("there was no traffic")
	}
	if r.Failures() == 0 {
		return
	}
	var text strings.Builder
	for _, f := range r.First {
		text.WriteString("\n" + f.String())
	}
	t.Errorf("%d failures: %v; the first:%s", r.Failures(), r.Failed, text.String())
}

// shown is how many failures are told in full.
const shown = 20

// ledger counts.
type ledger struct {
	began time.Time

	mu    sync.Mutex
	state Report
}

func (l *ledger) beat(kind Kind, target Target, from netip.AddrPort, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && kind == Flow:
		l.fail(kind, "udp", target, from, err)
	case err != nil:
		l.fail(kind, "tcp", target, from, err)
	case kind == Flow:
		l.state.FlowAnswers++
	default:
		l.state.Echoes++
	}
}

func (l *ledger) asked(q question, from netip.AddrPort, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Asked++
	if err != nil {
		l.fail(New, q.network, q.target, from, err)
		return
	}
	l.state.Answered++
	l.state.Slowest = max(l.state.Slowest, took)
	if took >= time.Second {
		l.state.Late++
	}
}

func (l *ledger) fail(kind Kind, network string, target Target, from netip.AddrPort, err error) {
	if l.state.Failed == nil {
		l.state.Failed = map[Kind]int{}
	}
	l.state.Failed[kind]++
	if len(l.state.First) < shown {
		l.state.First = append(l.state.First, Failure{At: time.Now(), Kind: kind, Network: network, Target: target, Port: from.Port(), Err: err})
	}
}

func (l *ledger) report(o Options) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.state
	r.Took, r.Standing, r.Flows = time.Since(l.began), o.Standing, o.Flows
	r.Rate = float64(r.Answered) / r.Took.Seconds()
	r.First = slices.Clone(r.First)
	r.Failed = map[Kind]int{}
	for k, n := range l.state.Failed {
		r.Failed[k] = n
	}
	return r
}
