package lab

import (
	"testing"
	"time"
)

func TestTimesAreAddedUp(t *testing.T) {
	got, err := cpuTime("7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 9 0 5 6 7 8\n")
	if want := 35200 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := cpuTime("7 (a) S 1 7"); err == nil {
		t.Errorf("too few fields give %v", got)
	}
}
