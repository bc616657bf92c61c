package bench

import (
	"slices"
	"testing"
	"time"
)

// race collects how long both kinds of rules took for the same thing.
type race struct {
	ours, theirs []time.Duration
	givenUp      bool // theirs were given up at the limit: they are slower than the figures say
}

// report gives the medians and their ratio.
func (r *race) report(b *testing.B) {
	b.ReportMetric(0, "ns/op") // it would be the time of the set-up
	ours := median(r.ours)
	b.ReportMetric(milliseconds(ours), "fairlead-ms")
	if len(r.theirs) == 0 {
		return
	}
	theirs := median(r.theirs)
	ratio := float64(theirs) / float64(ours)
	if r.givenUp {
		b.ReportMetric(milliseconds(theirs), "kube-proxy-ms-at-least")
		b.ReportMetric(ratio, "times-faster-at-least")
		return
	}
	b.ReportMetric(milliseconds(theirs), "kube-proxy-ms")
	b.ReportMetric(ratio, "times-faster")
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
