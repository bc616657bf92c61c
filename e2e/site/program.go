package site

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program is the path of the program under test, while Main runs.
var Program string

// Main is what TestMain calls: it builds Fairlead, runs the tests, and returns their exit status. What FAIRLEAD_PROGRAM names is
// tested as it is: `make test` builds it once for all, and under emulation a build would take minutes.
//
// All temporary files are in one folder, which is removed at the end, or after a kill by hack/sweep.sh. The lock of legacy iptables is
// in there too: rules belong to a network namespace, but the lock is the whole machine's, and nobody else is to hold up a test.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("fairlead-test-%d-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for name, value := range map[string]string{"TMPDIR": dir, "XTABLES_LOCKFILE": filepath.Join(dir, "xtables.lock")} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if Program = os.Getenv("FAIRLEAD_PROGRAM"); Program != "" {
		return m.Run()
	}
	Program = filepath.Join(dir, "fairlead")
	build := exec.Command("go", "build", "-o", Program, "github.com/fairlead/fairlead/cmd/fairlead")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
