package apiserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
)

// patience only ends a test that fails: what it waits for takes milliseconds.
const patience = 60 * time.Second

// When this process is killed, the kernel kills the children of a control plane
// on loopback.
func TestControlPlaneEndsWithItsProcess(t *testing.T) {
	// This test needs no Fairlead, so TestMain need not build one in the child process.
	t.Setenv("FAIRLEAD_PROGRAM", "none")
	err := lab.KilledWithParent(t.Name(), func() (int, error) {
		child := exec.Command("sleep", "1000")
		if err := NewControlPlane(ControlPlaneConfig{}).config.Start(child); err != nil {
			return 0, err
		}
		return child.Process.Pid, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A child of a control plane on loopback outlives the thread that called Start.
func TestControlPlaneOutlivesThreads(t *testing.T) {
	child := exec.Command("cat")
	in, errIn := child.StdinPipe()
	out, errOut := child.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		t.Fatal(err)
	}
	start := NewControlPlane(ControlPlaneConfig{}).config.Start
	thread, started := make(chan int, 1), make(chan error, 1)
	go onEndingThread(func() {
		thread <- unix.Gettid()
		started <- start(child)
	})
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	id := <-thread
	eventually(t, func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id)); err == nil {
			return fmt.Errorf("thread %d still runs", id)
		}
		return nil
	})
	if _, err := io.WriteString(in, "hello\n"); err != nil {
		t.Error(err)
	}
	if got, err := bufio.NewReader(out).ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("got %q and %v", got, err)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
}

// onEndingThread runs f on a thread that ends after it. The main thread would
// not end.
func onEndingThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go onEndingThread(func() {
		defer close(done)
		f()
	})
	<-done
	runtime.UnlockOSThread()
}

// eventually waits until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Error(err)
}
