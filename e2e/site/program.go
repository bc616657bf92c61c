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
// tested as it is: where the tests run under emulation, a build would take minutes.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	if Program = os.Getenv("FAIRLEAD_PROGRAM"); Program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "fairlead")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Program = filepath.Join(dir, "fairlead")
	build := exec.Command("go", "build", "-o", Program, "github.com/fairlead/fairlead/cmd/fairlead")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
