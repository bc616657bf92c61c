//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
)

// damage is a change that another program makes.
type damage struct {
	kind string // of what is damaged
	name string
	do   func() error // in the node's namespace
	says string       // what Fairlead logs about it, a regular expression
}

// everyTime reports whether every verification looks for such damage. For the others it has a budget of time, so that on a busy machine
// several verifications may pass before the one that finds it.
func (d damage) everyTime() bool {
	return slices.Contains([]string{"rule", "jump", "routing rule"}, d.kind)
}

// each does something for both families.
func each(do func(f lab.Family) error) func() error {
	return func() error { return errors.Join(do(lab.IPv4), do(lab.IPv6)) }
}

func (k *kernel) serverDamages(pod *lab.Host) []damage {
	web := func(f lab.Family) *moby.Service { return virtualServer("tcp", vip(f, 10, 80)) }
	const server = "virtual server 10.96.0.10,tcp:80 "
	const changed, others = server + "has been changed", server + "has other real servers"
	// A verification that is in progress may have compared the virtual servers, and then notices by the real servers.
	const gone = server + "(is gone|has other real servers)"
	return []damage{
		{"virtual server", "a virtual server is deleted", each(func(f lab.Family) error { return k.ipvs.DelService(web(f)) }), gone},
		{"virtual server", "all virtual servers are deleted", k.ipvs.Flush, gone},
		{"virtual server", "a virtual server gets another scheduler", each(func(f lab.Family) error {
			s := web(f)
			s.SchedName, s.Flags = "wlc", ownMark
			return k.ipvs.UpdateService(s)
		}), changed},
		{"virtual server", "a virtual server loses its mark", each(func(f lab.Family) error { return k.ipvs.UpdateService(web(f)) }), changed},
		{"real server", "a real server is deleted", each(func(f lab.Family) error {
			return k.ipvs.DelDestination(web(f), realServer(pod.AddrPort(f, 8080), 0))
		}), others},
		{"real server", "the weight of a real server is changed", each(func(f lab.Family) error {
			return k.ipvs.UpdateDestination(web(f), realServer(pod.AddrPort(f, 8080), 0))
		}), others},
		{"real server", "a real server is added", each(func(f lab.Family) error {
			return k.ipvs.NewDestination(web(f), realServer(netip.AddrPortFrom(pod.Address(f), 9), 5))
		}), others},
	}
}

func setDamages() []damage {
	name := func(f lab.Family) string { return fmt.Sprintf("FLV%d-VIRTUAL", f) }
	protocol, port := uint8(unix.IPPROTO_TCP), uint16(81)
	return []damage{
		{"set", "a set is flushed", each(func(f lab.Family) error { return netlink.IpsetFlush(name(f)) }), "entry of set FLV4-VIRTUAL"},
		{"set", "a set gets an entry", each(func(f lab.Family) error {
			ip := site.ClusterIP(f, 10)
			return netlink.IpsetAdd(name(f), &netlink.IPSetEntry{IP: ip.AsSlice(), Port: &port, Protocol: &protocol})
		}), "does not belong there"},
	}
}

func routeDamages() []damage {
	return []damage{
		{"routing rule", "the routing rule is deleted", each(func(f lab.Family) error {
			list, err := netlink.RuleList(int(families[f]))
			for _, r := range list {
				if r.Table == routeTable {
					err = errors.Join(err, netlink.RuleDel(&r))
				}
			}
			return err
		}), "the routing rule for packets to virtual IPs is gone"},
		{"route", "a route is deleted", each(func(f lab.Family) error { return netlink.RouteDel(ownRoute(site.ClusterIP(f, 10))) }), "route to 10.96.0.10 is gone"},
		{"route", "a route is added", each(func(f lab.Family) error { return netlink.RouteAdd(ownRoute(site.ClusterIP(f, 77))) }), "route to 10.96.0.77 does not belong there"},
	}
}

// ownRoute is a route like those of Fairlead.
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
		{"rule", "a table is flushed", iptables("-t mangle -F"), "FLV-"},
		{"rule", "another table is flushed", iptables("-t nat -F"), "FLV-"},
		{"rule", "a chain is flushed", iptables("-t mangle -F FLV-PREROUTING"), "FLV-PREROUTING"},
		{"rule", "a rule is inserted before Fairlead's", iptables("-t filter -I FLV-FILTER -j ACCEPT"), "FLV-FILTER"},
		{"jump", "a jump is deleted", iptables("-t mangle -D PREROUTING -j FLV-PREROUTING"), "FLV-PREROUTING"},
		{"set", "the set of ports gets an entry", each(func(f lab.Family) error {
			_, err := s.node1.Output(s.t.Context(), "ipset", "add", fmt.Sprintf("FLV%d-HEALTH", f), "81")
			return err
		}), "entry of set FLV4-HEALTH"},
	}
}

// damages are all of them, or one of each kind for `make test`.
func (s *stage) damages(pod *lab.Host) []damage {
	var list []damage
	for _, d := range slices.Concat(s.kernel.serverDamages(pod), setDamages(), routeDamages()) {
		do := d.do
		d.do = func() error { return s.node1.Do(do) }
		list = append(list, d)
	}
	list = append(list, s.byPrograms()...)
	if tier.Soak {
		return list
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(d damage) bool {
		again := seen[d.kind]
		seen[d.kind] = true
		return again
	})
}

func TestDamageIsRepairedAndNamed(t *testing.T) {
	s, one, two := webStage(t)
	s.behind("web", endpoint{one, s.node1, ""}, endpoint{two, s.node2, ""})
	s.weighs("tcp", two, 1)
	s.weighs("udp", two, 1)
	s.Verified(1) // the sync has ended
	state := s.kernel.mustState()
	for _, d := range s.damages(one) {
		t.Run(d.name, func(t *testing.T) {
			log, before := len(s.Log.String()), site.Stamp()
			if err := d.do(); err != nil {
				t.Fatal(err)
			}
			s.repaired(t, before, site.Stamp(), d.everyTime())
			if diff := cmp.Diff(state, s.kernel.mustState()); diff != "" {
				t.Errorf("the kernel has (-before +after):\n%s", diff)
			}
			says := regexp.MustCompile(`"Repairing rules that another program has changed" .*` + d.says)
			if said := s.Log.String()[log:]; !says.MatchString(said) {
				t.Errorf("Fairlead does not name it: %s", said)
			}
			for _, f := range lab.Families {
				s.served(s.client, "tcp", vip(f, 10, 80), one, two)
			}
		})
	}
	s.Verified(2)
	if n := s.Log.Count("Could not"); n > 0 {
		t.Errorf("something failed %d times", n)
	}
}
