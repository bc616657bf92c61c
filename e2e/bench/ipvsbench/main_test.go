// Package ipvsbench measures proxies in IPVS mode, one after the other on one machine and with the same objects: how long they take
// to fill an empty kernel, how long until one changed endpoint shows, and what they use when nothing changes. The kernel has to have
// IPVS. Absolute times say how fast the machine is; ratios are what to look at.
//
// The objects come from e2e/listwatch, as the real API server would be most of what is measured. One Service leads to a pod that
// answers; it is asked when the kernel has been filled, so that nothing is measured that does not work.
//
//	go test ./e2e/bench/ipvsbench -run '^$' -bench . -timeout 3h
//
// With -proxies kube-proxy,kube-proxy the ratios show how much of them is noise. In an emulated machine time should be counted in
// instructions (QEMU's -icount), and all programs should lie in memory: starting one, as kube-proxy does for every entry of an
// ipset, would otherwise cost far more there than it does elsewhere.
package ipvsbench

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/site"
)

var (
	sizes    = numbers{1000, 5000}
	changes  = flag.Int("changes", 10, "how many times an endpoint is changed")
	idle     = flag.Duration("idle", 90*time.Second, "how long the use of CPU time without a change is measured")
	patience = flag.Duration("patience", 10*time.Minute, "how long a proxy may take for one thing")
	names    = flag.String("proxies", "kube-proxy,fairlead", "the proxies to measure, in this order; all others are compared with the first")
)

func TestMain(m *testing.M) {
	flag.Var(&sizes, "services", "the numbers of Services to measure with")
	flag.Parse()
	os.Exit(site.Main(m))
}

// numbers is a flag.
type numbers []int

// String implements flag.Value.
func (n *numbers) String() string { return strings.Trim(fmt.Sprint([]int(*n)), "[]") }

// Set implements flag.Value: numbers are separated by commas.
func (n *numbers) Set(text string) error {
	*n = nil
	for word := range strings.SplitSeq(text, ",") {
		i, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("read a number: %w", err)
		}
		if i < 1 {
			return fmt.Errorf("%d is not more than nothing", i)
		}
		*n = append(*n, i)
	}
	return nil
}
