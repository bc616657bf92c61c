package cases

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

var (
	only = flag.String("case", "", "send the packets of those cases only whose name contains this")
	core = flag.Bool("core", false, "send the packets of the first cases of each chapter only")
)

// TestMain builds the program for the tests that need root; the others can do without either.
func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	os.Exit(site.Main(m))
}

// needsRoot fails a test that makes network namespaces, where it may not.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("makes network namespaces: run it as root")
	}
}

// chosen are the cases that -case and -core leave.
func chosen(t *testing.T) []Case {
	t.Helper()
	all := All()
	if *core {
		all = Core()
	}
	left := slices.DeleteFunc(all, func(c Case) bool { return !strings.Contains(c.Name, *only) })
	if len(left) == 0 {
		t.Fatalf("no case's name contains %q", *only)
	}
	return left
}
