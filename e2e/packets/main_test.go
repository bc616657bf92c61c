// Package packets tests Fairlead from outside: the program runs on a node of the lab and reads its objects from files, and
// what counts is where packets get to. It needs root and iptables.
package packets

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }
