package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	l := newLab(t)
	out, err := l.Nodes[0].Output(t.Context(), "cat", "/proc/net/fib_trie")
	if err != nil || !strings.Contains(out, "172.30.0.11") || strings.Contains(out, "172.30.0.12") {
		t.Errorf("got %v and the routes\n%s", err, out)
	}
	_, err = l.Nodes[0].Output(t.Context(), "sh", "-c", "echo went wrong >&2; exit 3")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "went wrong") {
		t.Errorf("got %v, want exit status 3 and the stderr", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.Nodes[0].Output(ctx, "sleep", "100"); err == nil {
		t.Error("a command outlived its context")
	}
}

func TestProcess(t *testing.T) {
	l := newLab(t)
	log := newLineWriter()
	script := `trap 'echo bye; exit 7' TERM; echo hello >&2; while :; do sleep 0.02; done`
	p, err := l.Nodes[0].StartProcess("sh", []string{"-c", script}, log)
	if err != nil {
		t.Fatal(err)
	}
	log.expect(t, "hello\n") // so the trap is set
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v from a running process", err)
	}
	var exit *exec.ExitError
	if err := p.Stop(syscall.SIGTERM); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
	if err := p.Stop(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) || !errors.As(err, &exit) {
		t.Errorf("stop again: got %v", err)
	}
	log.expect(t, "bye\n")
	if n := len(log.lines); n > 0 {
		t.Errorf("the process wrote %d lines more", n)
	}
	if _, err := l.Nodes[0].StartProcess("no-such-program", nil, nil); err == nil {
		t.Error("started a program that does not exist")
	}
}

// A process must not end because the goroutine or the job that started it did.
func TestProcessOutlivesJobs(t *testing.T) {
	l := newLab(t)
	started := make(chan *Process)
	go func() {
		p, err := l.Nodes[0].StartProcess("sleep", []string{"100"}, nil)
		if err != nil {
			t.Error(err)
		}
		started <- p
	}()
	p := <-started
	var jobs sync.WaitGroup
	for range 200 {
		jobs.Go(func() { _ = l.Nodes[0].Do(func() error { time.Sleep(time.Millisecond); return nil }) })
	}
	jobs.Wait()
	runtime.GC()
	select {
	case <-p.Done():
		t.Errorf("the process ended: %v", p.Wait(t.Context()))
	case <-time.After(300 * time.Millisecond):
	}
}

func TestCloseKillsProcessGroup(t *testing.T) {
	l := newLab(t)
	log := newLineWriter()
	p, err := l.Nodes[0].StartProcess("sh", []string{"-c", "trap '' TERM; sleep 100 & echo $!; wait"}, log)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscan(<-log.lines, &child); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	waitGone(t, p.Pid())
	waitGone(t, child)
}

// lineWriter sends each line that a process writes to a channel.
type lineWriter struct{ lines chan string }

func newLineWriter() *lineWriter { return &lineWriter{make(chan string, 10)} }

// expect waits for the next line.
func (w *lineWriter) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-w.lines:
		if got != want {
			t.Errorf("the process wrote %q, want %q", got, want)
		}
	case <-time.After(Patience(60 * time.Second)):
		t.Fatalf("the process did not write %q", want)
	}
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.lines <- string(b)
	return len(b), nil
}

// waitGone waits for a process to end.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	settle(t, func() error {
		if hasEnded(pid) {
			return nil
		}
		return fmt.Errorf("process %d still runs", pid)
	})
}

// When this process is killed, the kernel kills what it started.
func TestKilled(t *testing.T) {
	err := KilledWithParent(t.Name(), func() (int, error) {
		l := newLab(t)
		p, err := newPod(t, l, l.Nodes[0], "pod").StartProcess("sleep", []string{"100"}, nil)
		if err != nil {
			return 0, err
		}
		return p.Pid(), nil
	})
	if err != nil {
		t.Error(err)
	}
}
