package churn

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// usage is what a process uses of the machine.
type usage struct {
	cpu       time.Duration // its own, and that of the children it has waited for
	rss, peak int           // resident memory in KiB, now and at most
	threads   int
	files     int // open ones
}

func (u usage) String() string {
	return fmt.Sprintf("CPU %v, RSS %.1f MiB (peak %.1f), %d threads, %d files", u.cpu, float64(u.rss)/1024, float64(u.peak)/1024, u.threads, u.files)
}

func measure(t *testing.T, p *lab.Process) usage {
	t.Helper()
	u, err := usageOf(p.Pid())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func usageOf(pid int) (u usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if u.cpu, err = cpuOf(dir + "stat"); err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return usage{}, fmt.Errorf("read the status: %w", err)
	}
	fields := map[string]*int{"VmRSS": &u.rss, "VmHWM": &u.peak, "Threads": &u.threads}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if field := fields[name]; field != nil {
			if *field, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB")); err != nil {
				return usage{}, fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return usage{}, fmt.Errorf("list open files: %w", err)
	}
	u.files = len(files)
	return u, nil
}

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go knows.
const tick = time.Second / 100

// cpuOf adds up utime, stime, cutime and cstime.
func cpuOf(statFile string) (time.Duration, error) {
	text, err := os.ReadFile(statFile)
	if err != nil {
		return 0, fmt.Errorf("read the times: %w", err)
	}
	// The name of the program, which is the second field, may have blanks and parentheses in it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const utime, times = 14 - 3, 4 // the first field here is the third of the line
	var ticks int64
	for _, f := range fields[utime : utime+times] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the times: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
