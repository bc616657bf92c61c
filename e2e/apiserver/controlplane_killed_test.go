package apiserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience only ends a test that fails: what it waits for takes milliseconds.
const patience = 60 * time.Second

// When this process is killed, the kernel kills the children of a control plane
// on loopback.
func TestControlPlaneEndsWithItsProcess(t *testing.T) {
	const inChild = "APISERVER_TEST_KILLED"
	if os.Getenv(inChild) != "" {
		child := exec.Command("sleep", "1000")
		if err := NewControlPlane(ControlPlaneConfig{}).config.Start(child); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("pid %d\n", child.Process.Pid)
		_ = child.Wait()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	// This test needs no Fairlead, so TestMain need not build one.
	cmd.Env = append(os.Environ(), inChild+"=1", "FAIRLEAD_PROGRAM=none")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	lines := bufio.NewScanner(stdout)
	for pid == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if pid == 0 {
		t.Fatal("the child started no process")
	}
	eventually(t, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil // a zombie has ended, too
		}
		return fmt.Errorf("process %d still runs", pid)
	})
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
