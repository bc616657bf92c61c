package fairlead_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// embedded makes the test binary, which the test starts in a network namespace, run the example.
const embedded = "FAIRLEAD_EXAMPLE"

func TestTheExampleForwardsUntilASignal(t *testing.T) {
	if os.Getenv(embedded) != "" {
		Example()
		return
	}
	folder := t.TempDir()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(examples, filepath.Join(folder, "manifests")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), embedded+"=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if serves(cmd.Process.Pid) {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the example ended by itself: %v\n%s", err, &log)
		default:
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("no rules for the Service my-service\n%s", &log)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the example ends with %v\n%s", err, &log)
	}
}

// serves reports whether the network namespace of a process has rules for the Service of the examples, in both IP families.
func serves(pid int) bool {
	for _, program := range []string{"iptables-nft-save", "ip6tables-nft-save"} {
		out, err := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), program, "-t", "nat").Output()
		if err != nil || !bytes.Contains(out, []byte("FL-S-my-ser")) {
			return false
		}
	}
	return true
}
