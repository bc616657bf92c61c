package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go knows.
const tick = time.Second / 100

// CPUTime is what the process and the children that it has waited for have used of the CPUs.
func (p *Process) CPUTime() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the times: %w", err)
	}
	return cpuTime(string(stat))
}

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

// Status reads numbers of /proc/PID/status by their names, such as VmHWM. Sizes are in KiB.
func (p *Process) Status(numbers map[string]*int) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		found[name] = strings.TrimSuffix(strings.TrimSpace(value), " kB")
	}
	for name, number := range numbers {
		if *number, err = strconv.Atoi(found[name]); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	return nil
}
