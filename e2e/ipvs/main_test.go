//go:build ipvs

package ipvs

import (
	"fmt"
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) {
	if site.Mode != site.IPVS {
		fmt.Fprintln(os.Stderr, "these tests are for IPVS mode: run make test-ipvs")
		os.Exit(1)
	}
	os.Exit(site.Main(m))
}
