package churn

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// usage is what a process uses of the machine.
type usage struct {
	cpu        time.Duration // its own, and that of the children it has waited for
	rss, peak  int           // resident memory in KiB, now and at most
	threads    int
	files      int // open ones
	goroutines int // where they have been counted
}

func (u usage) String() string {
	text := fmt.Sprintf("CPU %v, RSS %.1f MiB (peak %.1f), %d threads, %d files", u.cpu, float64(u.rss)/1024, float64(u.peak)/1024, u.threads, u.files)
	if u.goroutines > 0 {
		text += fmt.Sprintf(", %d goroutines", u.goroutines)
	}
	return text
}

func measure(t *testing.T, p *lab.Process) usage {
	t.Helper()
	u, err := usageOf(p)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func usageOf(p *lab.Process) (u usage, err error) {
	if u.cpu, err = p.CPUTime(); err != nil {
		return usage{}, err
	}
	if err := p.Status(map[string]*int{"VmRSS": &u.rss, "VmHWM": &u.peak, "Threads": &u.threads}); err != nil {
		return usage{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	if err != nil {
		return usage{}, fmt.Errorf("list open files: %w", err)
	}
	u.files = len(files)
	return u, nil
}
