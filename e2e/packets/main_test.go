// Package packets tests Fairlead from outside: the program runs on a node of the lab and reads its objects from files, and
// what counts is where packets get to. It needs root and iptables.
package packets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/klog/v2"
)

// fairlead is the program under test.
var fairlead string

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "fairlead")
	if err != nil {
		panic(err)
	}
	fairlead = filepath.Join(dir, "fairlead")
	build := exec.Command("go", "build", "-o", fairlead, "github.com/fairlead/fairlead/cmd/fairlead")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	klog.Flush()
	os.RemoveAll(dir)
	os.Exit(status)
}
