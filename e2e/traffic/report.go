package traffic

import (
	"fmt"
	"strings"
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

// Failure is something that went wrong. Its error is lab.ErrRefused, lab.ErrTimeout, ErrMoved or ErrLost where it was one of these.
type Failure struct {
	At      time.Time
	Kind    Kind
	Network string
	Target  Target
	Port    uint16 // the source port, unless it was answered
	Err     error
}

const clock = "15:04:05.000"

// String is one line.
func (f Failure) String() string {
	return fmt.Sprintf("%s %s %s from port %d, %s: %v", f.At.Format(clock), f.Network, f.Kind, f.Port, f.Target, f.Err)
}

// Report is what became of the traffic.
type Report struct {
	Took time.Duration
	// Standing connections and Flows that were opened, and how often they were answered.
	Standing, Flows     int
	Echoes, FlowAnswers int
	// Asked is how many new connections and UDP requests were made, Answered how many of them were answered, and Rate that in a second.
	Asked, Answered int
	Rate            float64
	// Resent is how many TCP packets were sent again.
	Resent int
	// Slowest is the longest time that the answer to a new connection took.
	Slowest time.Duration
	// Failed counts the failures of each kind, and First has the first ones.
	Failed map[Kind]int
	First  []Failure
}

// String sums it up in a line.
func (r Report) String() string {
	return fmt.Sprintf("%v: %d echoes on %d standing connections, %d answers on %d UDP flows, %d of %d new connections answered (%.0f/s, slowest %v), %d packets sent again",
		r.Took.Round(time.Millisecond), r.Echoes, r.Standing, r.FlowAnswers, r.Flows, r.Answered, r.Asked, r.Rate, r.Slowest.Round(time.Millisecond), r.Resent)
}

// Failures is how many there were.
func (r Report) Failures() int { return sum(r.Failed) }

func sum(failed map[Kind]int) (n int) {
	for _, f := range failed {
		n += f
	}
	return n
}

// Check logs what happened, and fails the test if anything failed, or nothing was asked.
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
