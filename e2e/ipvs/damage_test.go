//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// damage is what somebody does by hand.
type damage struct {
	name string
	do   func() error // in the node's namespace
	says string       // what Fairlead says of it
}

// each does something for both families.
func each(do func(f lab.Family) error) func() error {
	return func() error { return errors.Join(do(lab.IPv4), do(lab.IPv6)) }
}

func (k *kernel) serverDamages(pod *lab.Host) []damage {
	web := func(f lab.Family) *moby.Service { return virtualServer("tcp", vip(f, 10, 80)) }
	return []damage{
		{"a virtual server is deleted", each(func(f lab.Family) error { return k.ipvs.DelService(web(f)) }), "virtual server 10.96.0.10,tcp:80 is gone"},
		{"all virtual servers are deleted", k.ipvs.Flush, "virtual server 10.96.0.10,tcp:80 is gone"},
		{"a virtual server gets another scheduler", each(func(f lab.Family) error {
			s := web(f)
			s.SchedName, s.Flags = "wlc", ownMark
			return k.ipvs.UpdateService(s)
		}), "virtual server 10.96.0.10,tcp:80 has been changed"},
		{"a virtual server loses its mark", each(func(f lab.Family) error { return k.ipvs.UpdateService(web(f)) }), "virtual server 10.96.0.10,tcp:80 has been changed"},
		{"a real server is deleted", each(func(f lab.Family) error {
			return k.ipvs.DelDestination(web(f), realServer(pod.AddrPort(f, 8080), 0))
		}), "virtual server 10.96.0.10,tcp:80 has other real servers"},
		{"the weight of a real server is changed", each(func(f lab.Family) error {
			return k.ipvs.UpdateDestination(web(f), realServer(pod.AddrPort(f, 8080), 0))
		}), "virtual server 10.96.0.10,tcp:80 has other real servers"},
		{"a real server is added", each(func(f lab.Family) error {
			return k.ipvs.NewDestination(web(f), realServer(netip.AddrPortFrom(pod.Address(f), 9), 5))
		}), "virtual server 10.96.0.10,tcp:80 has other real servers"},
	}
}

func setDamages() []damage {
	name := func(f lab.Family) string { return fmt.Sprintf("FLV%d-VIRTUAL", f) }
	protocol, port := uint8(unix.IPPROTO_TCP), uint16(81)
	return []damage{
		{"a set is flushed", each(func(f lab.Family) error { return netlink.IpsetFlush(name(f)) }), "entry of set FLV4-VIRTUAL"},
		{"a set gets an entry", each(func(f lab.Family) error {
			ip := site.ClusterIP(f, 10)
			return netlink.IpsetAdd(name(f), &netlink.IPSetEntry{IP: ip.AsSlice(), Port: &port, Protocol: &protocol})
		}), "does not belong there"},
	}
}

func routeDamages() []damage {
	return []damage{
		{"the routing rule is deleted", each(func(f lab.Family) error {
			list, err := netlink.RuleList(int(families[f]))
			for _, r := range list {
				if r.Table == routeTable {
					err = errors.Join(err, netlink.RuleDel(&r))
				}
			}
			return err
		}), "the routing rule for packets to virtual IPs is gone"},
		{"a route is deleted", each(func(f lab.Family) error { return netlink.RouteDel(ownRoute(site.ClusterIP(f, 10))) }), "route to 10.96.0.10 is gone"},
		{"a route is added", each(func(f lab.Family) error { return netlink.RouteAdd(ownRoute(site.ClusterIP(f, 77))) }), "route to 10.96.0.77 does not belong there"},
	}
}

// ownRoute is one as Fairlead makes them.
func ownRoute(to netip.Addr) *netlink.Route {
	dst := netlink.NewIPNet(to.AsSlice())
	return &netlink.Route{Table: routeTable, Protocol: routeProtocol, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: 1, Dst: dst}
}

// byPrograms are damages that take a program.
func (s *stage) byPrograms() []damage {
	iptables := func(args string) func() error {
		return func() error {
			for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
				if _, err := s.node1.Output(s.t.Context(), program, strings.Fields(args)...); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []damage{
		{"a table is flushed", iptables("-t nat -F"), "FLV-"},
		{"another table is flushed", iptables("-t mangle -F"), "FLV-"},
		{"a chain is flushed", iptables("-t mangle -F FLV-PREROUTING"), "FLV-PREROUTING"},
		{"a jump is deleted", iptables("-t mangle -D PREROUTING -j FLV-PREROUTING"), "FLV-PREROUTING"},
		{"the set of ports gets an entry", func() error {
			_, err := s.node1.Output(s.t.Context(), "ipset", "add", "FLV4-HEALTH", "81")
			return err
		}, "entry of set FLV4-HEALTH"},
		{"a rule is put before ours", iptables("-t filter -I FLV-FILTER -j ACCEPT"), "FLV-FILTER"},
	}
}

func TestDamageIsRepairedAndNamed(t *testing.T) {
	s, one, two := webStage(t)
	s.behind("web", endpoint{one, s.node1, ""}, endpoint{two, s.node2, ""})
	s.weighs("tcp", two, 1)
	before := s.kernel.mustState()
	var damages []damage
	for _, d := range append(append(s.kernel.serverDamages(one), setDamages()...), routeDamages()...) {
		do := d.do
		d.do = func() error { return s.node1.Do(do) }
		damages = append(damages, d)
	}
	for _, d := range append(damages, s.byPrograms()...) {
		t.Run(d.name, func(t *testing.T) {
			said := s.Log.String()
			if err := d.do(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			s.becomes("all is as before", before)
			if took := time.Since(start); took > site.Patience(1500*time.Millisecond) {
				t.Errorf("it took %v", took)
			}
			s.Eventually("Fairlead names it", func() error {
				now := strings.TrimPrefix(s.Log.String(), said)
				if !strings.Contains(now, "Repairing rules that another program has changed") || !strings.Contains(now, d.says) {
					return fmt.Errorf("it says %s", now)
				}
				return nil
			})
			for _, f := range lab.Families {
				s.served(s.client, "tcp", vip(f, 10, 80), one, two)
			}
		})
	}
	time.Sleep(2 * time.Second)
	if n := s.Log.Count("Could not"); n > 0 {
		t.Errorf("something failed %d times", n)
	}
}

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
	time.Sleep(2500 * time.Millisecond) // two looks at the kernel
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
