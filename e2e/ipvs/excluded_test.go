//go:build ipvs && soak

package ipvs

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestExcludedVirtualServersAreLeftAlone even if they look like Fairlead's own.
func TestExcludedVirtualServersAreLeftAlone(t *testing.T) {
	s := newStage(t)
	inside := map[lab.Family]netip.AddrPort{lab.IPv4: netip.MustParseAddrPort("203.0.113.50:80"), lab.IPv6: netip.MustParseAddrPort("[2001:db8:1::50]:80")}
	outside := map[lab.Family]netip.AddrPort{lab.IPv4: netip.MustParseAddrPort("203.0.112.50:80"), lab.IPv6: netip.MustParseAddrPort("[2001:db8:2::50]:80")}
	add := func(at netip.AddrPort, flags uint32) error {
		vs := virtualServer("tcp", at)
		vs.Flags = flags
		return errors.Join(s.kernel.ipvs.NewService(vs), s.kernel.ipvs.NewDestination(vs, realServer(s.client.AddrPort(familyOf(at.Addr()), 9000), 7)))
	}
	for _, f := range lab.Families {
		if err := errors.Join(add(inside[f], ownMark), add(outside[f], ownMark)); err != nil {
			t.Fatal(err)
		}
	}
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.start("--ipvs-exclude-cidrs", "203.0.113.0/24,2001:db8:1::/64")
	s.Verified(2)
	for _, f := range lab.Families {
		if weights, err := s.kernel.real("tcp", inside[f]); err != nil || len(weights) != 1 {
			t.Errorf("%s: the excluded virtual server has %v, error %v", f, weights, err)
		}
		if weights, err := s.kernel.real("tcp", outside[f]); err != nil || weights != nil {
			t.Errorf("%s: the one that is not excluded has %v, error %v", f, weights, err)
		}
	}
	if n := s.Log.Count("Repairing"); n > 0 {
		t.Errorf("Fairlead repairs %d times", n)
	}
}
