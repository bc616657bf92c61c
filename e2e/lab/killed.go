package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// inKilledChild marks the environment of the child process of KilledWithParent.
const inKilledChild = "LAB_KILLED_CHILD"

// KilledWithParent checks that the kernel kills a program when the process
// that has started it is killed. It runs the named test of this executable
// again as a child process. There, the test's call of KilledWithParent calls
// start, which starts the program and returns its process ID, and does not
// return. In the calling process, it kills the child and waits until the
// program has ended.
func KilledWithParent(test string, start func() (pid int, err error)) error {
	if os.Getenv(inKilledChild) != "" {
		return awaitKill(start)
	}
	pid, err := killChild(test)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(Patience(60 * time.Second)); !hasEnded(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d still runs", pid)
		}
	}
	return nil
}

// awaitKill reports the process ID and waits. Standard input ends if the parent does not kill this process but ends itself.
func awaitKill(start func() (int, error)) error {
	pid, err := start()
	if err != nil {
		return err
	}
	fmt.Printf("pid %d\n", pid)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(errors.New("the parent has ended without killing its child"), err)
}

// killChild runs the test in a child process, kills it as soon as it reports a process ID, and returns that.
func killChild(test string) (pid int, err error) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), inKilledChild+"=1")
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return 0, err
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var output strings.Builder
	lines := bufio.NewScanner(stdout)
	for pid == 0 && lines.Scan() {
		fmt.Fprintln(&output, lines.Text())
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &pid)
	}
	err = cmd.Process.Kill()
	_ = cmd.Wait() // it has been killed
	if pid == 0 {
		return 0, errors.Join(fmt.Errorf("the child process has started no program:\n%s", output.String()), err)
	}
	return pid, err
}

// hasEnded reports whether a process has ended. A zombie has, too.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
