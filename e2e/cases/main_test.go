package cases

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
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
