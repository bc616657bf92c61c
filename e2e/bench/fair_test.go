package bench

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// TestBothKindsOfRulesForwardAlike holds what makes the comparison a fair one.
func TestBothKindsOfRulesForwardAlike(t *testing.T) {
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		t.Run(string(variant), func(t *testing.T) {
			c := NewCluster(20, 5)
			ourLab, end := newLab(t)
			defer end()
			theirLab, end := newLab(t)
			defer end()
			us, them := newOurs(ourLab, variant, c), newTheirs(t, theirLab, variant)
			us.sync(t, true)
			them.restore(t, Full(c))
			compare(t, c, kernelRules(t, us.node, variant), kernelRules(t, them.node, variant))

			c[7].Replace(1)
			_, slice := c[7].Objects()
			us.builder.SetSlice(slice)
			us.sync(t, false)
			them.restore(t, Partial(c, 7))
			compare(t, c, kernelRules(t, us.node, variant), kernelRules(t, them.node, variant))
		})
	}
}

// compare sends packets to every service by both kinds of rules, and to where no service is.
func compare(t *testing.T, c Cluster, ours, theirs *tracer.Ruleset) {
	t.Helper()
	node := netip.MustParseAddr("172.30.0.11")
	for _, s := range c {
		sources := []netip.Addr{netip.MustParseAddr("10.240.0.9"), netip.MustParseAddr("192.0.2.9"), node}
		for _, e := range s.Endpoints {
			if e.Node == Node { // what another node's pod sends itself through a service does not come by here
				sources = append(sources, e.Address.Addr())
			}
		}
		for _, source := range sources {
			for _, port := range []uint16{s.Address.Port(), s.Address.Port() + 1} {
				p := tracer.Packet{
					Protocol:    "tcp",
					Source:      netip.AddrPortFrom(source, 40000),
					Destination: netip.AddrPortFrom(s.Address.Addr(), port),
					FromNode:    source == node,
					Local:       func(a netip.Addr) bool { return a == node },
				}
				if diff := cmp.Diff(possible(t, theirs, p), possible(t, ours, p), sameChance); diff != "" {
					t.Fatalf("%s from %s (-kube-proxy +fairlead):\n%s", p.Destination, p.Source, diff)
				}
			}
		}
	}
}

// sameChance compares chances: kube-proxy writes them with ten digits, and a packet draws a few times.
var sameChance = cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) < 1e-7 })

// possible is everything that can become of a packet, each with its chance.
func possible(t *testing.T, rules *tracer.Ruleset, p tracer.Packet) map[string]float64 {
	t.Helper()
	outcomes, err := rules.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, o := range outcomes {
		all[fmt.Sprintf("%s %s translated=%t masqueraded=%t", o.Action, o.Destination, o.DNAT, o.Masquerade)] += o.Probability
	}
	return all
}

func kernelRules(t *testing.T, node *lab.Host, variant xtables.Variant) *tracer.Ruleset {
	t.Helper()
	saved, err := node.Output(context.Background(), fmt.Sprintf("iptables-%s-save", variant))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := tracer.Parse(strings.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}
