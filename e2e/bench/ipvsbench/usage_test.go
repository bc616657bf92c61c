package ipvsbench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// usage is what a process has used so far.
type usage struct {
	cpu      time.Duration // its own, and that of the children it has waited for
	peak     int           // resident memory in KiB
	children bool          // it has some now, whose use is not known yet
}

func usageOf(p *lab.Process) (u usage, err error) {
	if u.cpu, err = p.CPUTime(); err != nil {
		return usage{}, err
	}
	if err := p.Status(map[string]*int{"VmHWM": &u.peak}); err != nil {
		return usage{}, err
	}
	u.children, err = hasChildren(p.Pid())
	return u, err
}

// hasChildren looks at every thread, as each has those that it made.
func hasChildren(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
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
