package apiserver

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// loggedLines is how much of a log the error about an early exit repeats.
const loggedLines = 12

var errNoProcess = errors.New("the function that starts processes started none")

// childProcess is a running program of the control plane.
type childProcess struct {
	name string
	cmd  *exec.Cmd
	log  string
	// exited is closed when the process has ended and is reaped.
	exited chan struct{}
}

// launch starts a program in the control plane's folder, with its output in a
// log there.
func (c *ControlPlane) launch(program string, arguments []string) (*childProcess, error) {
	name := filepath.Base(program)
	log := c.file(name + ".log")
	// A restarted program writes a new log: the error about its exit is to
	// show nothing of the run before.
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", name, err)
	}
	defer out.Close()

	cmd := exec.Command(program, arguments...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = out, out
	// Both programs take settings from the environment, among them proxies;
	// they are to have those given here and no others.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return startChild(cmd, log, c.config.Start)
}

// startChild starts the command by the given function and watches it.
func startChild(cmd *exec.Cmd, log string, start func(*exec.Cmd) error) (*childProcess, error) {
	child := &childProcess{name: filepath.Base(cmd.Path), cmd: cmd, log: log, exited: make(chan struct{})}
	err := start(cmd)
	if cmd.Process == nil {
		return nil, fmt.Errorf("start %s: %w", child.name, cmp.Or(err, errNoProcess))
	}
	go func() {
		// How it ended is in cmd.ProcessState.
		_ = cmd.Wait()
		close(child.exited)
	}()
	if err != nil {
		// The function failed after it had started the process.
		return nil, fmt.Errorf("start %s: %w", child.name, errors.Join(err, child.kill()))
	}
	return child, nil
}

// forks sends functions to a thread that lives as long as this process.
var forks = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

// startBound starts a command that the kernel kills when this process ends, for
// whatever reason. As the kernel sends the signal when the forking thread ends,
// all commands are started by one thread that does not end.
func startBound(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	forks() <- func() { started <- cmd.Start() }
	return <-started
}

// kill ends the process at once and returns when it is reaped.
func (p *childProcess) kill() error {
	err := p.cmd.Process.Signal(syscall.SIGKILL)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

// earlyExit returns an error about a process that has ended by itself, and nil
// if it runs.
func (p *childProcess) earlyExit() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended: %s; its log ends with\n%s", p.name, p.cmd.ProcessState, p.logEnd())
	default:
		return nil
	}
}

// logEnd returns the last lines of the log.
func (p *childProcess) logEnd() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-loggedLines):], "\n")
}
