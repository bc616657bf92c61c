package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopLimit is how long Stop waits before it kills.
var stopLimit = Patience(60 * time.Second)

// Process is a program running in a host.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid when done is closed
}

// StartProcess starts a program in the host. Both of its outputs go to log,
// which may be nil. Close of the host or the lab kills it, with the processes
// it started.
func (h *Host) StartProcess(name string, args []string, log io.Writer) (*Process, error) {
	cmd := h.Command(context.Background(), name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that its children can be killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("start %s: %w", name, errClosed)
	}
	if err := h.Start(cmd); err != nil {
		return nil, err
	}
	h.processes = append(h.processes, p)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns its exit error, an
// *exec.ExitError if it did not succeed.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.name, ctx.Err())
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Stop sends a signal, waits for the end of the process and returns its exit
// error. It is an error too if the process had ended before, or if it takes
// more than a minute, when it is killed.
func (p *Process) Stop(sig syscall.Signal) error {
	select {
	case <-p.done:
		return fmt.Errorf("stop %s: it had ended already: %w", p.name, errors.Join(os.ErrProcessDone, p.err))
	default:
	}
	if err := p.Signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	err := p.Wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		p.kill()
		return fmt.Errorf("%s still ran %v after %v, killed", p.name, stopLimit, sig)
	}
	return err
}

// kill ends the process and its group.
func (p *Process) kill() {
	select {
	case <-p.done:
		return // the id may be another's by now
	default:
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	<-p.done
}

func (h *Host) killProcesses() {
	h.mu.Lock()
	processes := h.processes
	h.mu.Unlock()
	for _, p := range processes {
		p.kill()
	}
}
