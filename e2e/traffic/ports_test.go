package traffic

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

func TestTrafficThatFollowsAnotherUsesNoneOfItsPorts(t *testing.T) {
	to := netip.MustParseAddrPort("10.96.0.10:80")
	used := map[uint16]bool{}
	for range 3 {
		// A host may be another value each time, and the same one in the kernel.
		target := Target{From: &lab.Host{Name: "client"}, To: to}
		var p ports
		for range 10 {
			from, is := p.next(target, "udp")
			if !is || used[from.Port()] {
				t.Fatalf("port %d for a question, which was used before", from.Port())
			}
			used[from.Port()] = true
		}
		if from := p.fixed(target, "udp"); used[from.Port()] {
			t.Fatalf("port %d for a flow, which was used before", from.Port())
		} else {
			used[from.Port()] = true
		}
	}
}
