package iptables

import (
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

func newKernel() *xtablestest.Kernel { return xtablestest.New(xtables.Legacy) }

// testBackend is a Backend over a kernel in memory.
func testBackend(options Options, k *xtablestest.Kernel) *Backend {
	return newBackend(options, xtablestest.Open(k))
}
