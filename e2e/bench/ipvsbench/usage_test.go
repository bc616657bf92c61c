package ipvsbench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu      time.Duration // its own, and that of the children it has waited for
	peak     int           // resident memory in KiB
	children bool          // it has some now, whose use is not known yet
}

func usageOf(pid int) (u usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return usage{}, fmt.Errorf("read the times: %w", err)
	}
	if u.cpu, err = cpuTime(string(stat)); err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return usage{}, fmt.Errorf("read the status: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	size, _, _ := strings.Cut(rest, " kB")
	if u.peak, err = strconv.Atoi(strings.TrimSpace(size)); err != nil {
		return usage{}, fmt.Errorf("read the peak: %w", err)
	}
	u.children, err = hasChildren(dir)
	return u, err
}

// hasChildren looks at every thread, as each has those that it made.
func hasChildren(dir string) (bool, error) {
	files, err := filepath.Glob(dir + "task/*/children")
	if err != nil {
		return false, fmt.Errorf("list the threads: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the thread may have ended
			return false, fmt.Errorf("read the children: %w", err)
		}
		if len(text) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go knows.
const tick = time.Second / 100

// cpuTime adds up utime, stime, cutime and cstime of /proc/PID/stat.
func cpuTime(stat string) (time.Duration, error) {
	// The name of the program, which is the second field, may have blanks and parentheses in it.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const utime, times = 14 - 3, 4 // the first field here is the third of the line
	if len(fields) < utime+times {
		return 0, fmt.Errorf("read the times: %q has %d fields", stat, len(fields))
	}
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

func TestTimesAreAddedUp(t *testing.T) {
	got, err := cpuTime("7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 9 0 5 6 7 8\n")
	if want := 35200 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := cpuTime("7 (a) S 1 7"); err == nil {
		t.Errorf("too few fields give %v", got)
	}
}
