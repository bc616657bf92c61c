package traffic

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// source is what is answered again and again: a standing connection, a flow, or new connections to one target.
type source struct {
	kind    Kind
	network string
	target  Target
	port    uint16 // 0 for new connections
}

func (s source) String() string {
	return fmt.Sprintf("%s %s from port %d, %s", s.network, s.kind, s.port, s.target)
}

// shown is how many failures are reported in full.
const shown = 20

// ledger counts.
type ledger struct {
	began time.Time

	mu       sync.Mutex
	state    Report
	answered map[source]int
}

// expect makes More wait for a source from now on.
func (l *ledger) expect(s source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answered == nil {
		l.answered = map[source]int{}
	}
	l.answered[s] = 0
}

// beat counts a request on what stands.
func (l *ledger) beat(s source, resent int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Resent += resent
	switch {
	case err != nil:
		l.fail(s, err)
		return
	case s.kind == Flow:
		l.state.FlowAnswers++
	default:
		l.state.Echoes++
	}
	l.answered[s]++
}

// asked counts a new connection.
func (l *ledger) asked(s source, answer lab.Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Asked++
	l.state.Resent += answer.Resent
	if err == nil {
		l.state.Answered++
		l.state.Slowest = max(l.state.Slowest, answer.Took)
		l.answered[s]++
		if answer.Lost {
			l.fail(s, fmt.Errorf("%w: the SYN was sent again %d times", ErrLost, answer.Resent))
		}
		return
	}
	s.port = answer.Client.Port()
	l.fail(s, err)
}

func (l *ledger) fail(s source, err error) {
	if l.state.Failed == nil {
		l.state.Failed = map[Kind]int{}
	}
	l.state.Failed[s.kind]++
	if len(l.state.First) < shown {
		l.state.First = append(l.state.First, Failure{At: time.Now(), Kind: s.kind, Network: s.network, Target: s.target, Port: s.port, Err: err})
	}
}

func (l *ledger) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sum(l.state.Failed)
}

func (l *ledger) answers() map[source]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.answered)
}

// fewer are the sources that have been answered fewer times than that since before.
func (l *ledger) fewer(before map[source]int, times int) (late []source) {
	for s, n := range l.answers() {
		if n-before[s] < times {
			late = append(late, s)
		}
	}
	return late
}

func (l *ledger) report(o Options) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.state
	r.Took, r.Standing, r.Flows = time.Since(l.began), o.Standing, o.Flows
	r.Rate = float64(r.Answered) / r.Took.Seconds()
	r.First = slices.Clone(r.First)
	r.Failed = maps.Clone(r.Failed)
	return r
}
