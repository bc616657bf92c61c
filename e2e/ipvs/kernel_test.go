//go:build ipvs

package ipvs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
)

const (
	// routeTable and routeProtocol are those of Fairlead's routes.
	routeTable, routeProtocol = 17996, 70
	// Flags of virtual servers: Fairlead's mark, that of affinity, and one of the kernel's own.
	ownMark, persistent, hashed uint32 = 0x464c0000, 0x0001, 0x0002
)

// The numbers of families and protocols.
var (
	families  = map[lab.Family]uint16{lab.IPv4: unix.AF_INET, lab.IPv6: unix.AF_INET6}
	protocols = map[string]uint16{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}
)

// kernel is a node's kernel: its virtual servers and what belongs to them.
type kernel struct {
	t    *testing.T
	node *lab.Host
	ipvs *moby.Handle
}

func kernelOf(t *testing.T, node *lab.Host) *kernel {
	t.Helper()
	k := &kernel{t: t, node: node}
	k.do(func() (err error) {
		// The kernel loads the module for that. Package moby looks for it only once.
		if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
			return fmt.Errorf("the kernel has no IPVS: %w", err)
		}
		k.ipvs, err = moby.New("")
		return err
	})
	t.Cleanup(k.ipvs.Close)
	return k
}

// do runs f in the node's namespace, and ends the test if that fails.
func (k *kernel) do(f func() error) {
	k.t.Helper()
	if err := k.node.Do(f); err != nil {
		k.t.Fatal(err)
	}
}

// virtualServer is a virtual server with one of the schedulers and without flags.
func virtualServer(network string, at netip.AddrPort) *moby.Service {
	f := familyOf(at.Addr())
	s := &moby.Service{
		AddressFamily: families[f], Protocol: protocols[network], Address: at.Addr().AsSlice(), Port: at.Port(),
		SchedName: "rr", Netmask: 0xffffffff,
	}
	if f == lab.IPv6 {
		s.Netmask = 128
	}
	return s
}

func realServer(at netip.AddrPort, weight int) *moby.Destination {
	return &moby.Destination{Address: at.Addr().AsSlice(), Port: at.Port(), Weight: weight, ConnectionFlags: moby.ConnectionFlagMasq}
}

func familyOf(a netip.Addr) lab.Family {
	if a.Is4() {
		return lab.IPv4
	}
	return lab.IPv6
}

// real returns the weights of a virtual server's real servers; nil: there is no such virtual server.
func (k *kernel) real(network string, at netip.AddrPort) (map[netip.AddrPort]int, error) {
	if !k.ipvs.IsServicePresent(virtualServer(network, at)) {
		return nil, nil
	}
	list, err := k.ipvs.GetDestinations(virtualServer(network, at))
	weights := map[netip.AddrPort]int{}
	for _, d := range list {
		addr, _ := netip.AddrFromSlice(d.Address)
		weights[netip.AddrPortFrom(addr, d.Port)] = d.Weight
	}
	return weights, err
}

// state is all that the kernel holds for Services, whichever program made it, a line for each object. Lines are sorted, as the order of
// objects may depend on earlier ones; rules keep their order, which matters.
func (k *kernel) state() ([]string, error) {
	lines, err := k.things()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"iptables-nft-save", "ip6tables-nft-save"} {
		more, err := k.chains(program)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// things are the state without the rules: reading it starts no program.
func (k *kernel) things() (lines []string, err error) {
	err = k.node.Do(func() error {
		for _, list := range []func() ([]string, error){k.servers, sets, routes, rules} {
			more, err := list()
			if err != nil {
				return err
			}
			lines = append(lines, more...)
		}
		return nil
	})
	slices.Sort(lines)
	return lines, err
}

// mustState is the state where nothing changes it.
func (k *kernel) mustState() []string {
	k.t.Helper()
	lines, err := k.state()
	if err != nil {
		k.t.Fatal(err)
	}
	return lines
}

func (k *kernel) servers() ([]string, error) {
	list, err := k.ipvs.GetServices()
	if err != nil {
		return nil, fmt.Errorf("list virtual servers: %w", err)
	}
	var lines []string
	for _, s := range list {
		name := fmt.Sprintf("virtual server %d %s %d", s.Protocol, s.Address, s.Port)
		timeout := s.Timeout
		if s.Flags&persistent == 0 {
			timeout = 0 // has no meaning without affinity
		}
		lines = append(lines, fmt.Sprintf("%s: %s, flags %#x, timeout %d", name, s.SchedName, s.Flags&^hashed, timeout))
		reals, err := k.ipvs.GetDestinations(s)
		if err != nil {
			return nil, fmt.Errorf("list the real servers of %s: %w", name, err)
		}
		for _, d := range reals {
			lines = append(lines, fmt.Sprintf("%s: real server %s %d, weight %d", name, d.Address, d.Port, d.Weight))
		}
	}
	return lines, nil
}

// sets lists the ipsets in the network namespace of the calling thread.
func sets() ([]string, error) {
	list, err := netlink.IpsetListAll()
	if err != nil {
		return nil, fmt.Errorf("list ipsets: %w", err)
	}
	var lines []string
	for _, s := range list {
		if name := "set " + s.SetName; !slices.Contains(lines, name) {
			lines = append(lines, name) // a long one comes in parts
		}
		for _, e := range s.Entries {
			line := fmt.Sprintf("set %s: %s/%d %s/%d", s.SetName, e.IP, e.CIDR, e.IP2, e.CIDR2)
			if e.Port != nil {
				line += fmt.Sprintf(" port %d", *e.Port)
			}
			if e.Protocol != nil {
				line += fmt.Sprintf(" protocol %d", *e.Protocol)
			}
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// routes lists those of Fairlead's table.
func routes() ([]string, error) {
	var lines []string
	for _, f := range lab.Families {
		list, err := netlink.RouteListFiltered(int(families[f]), &netlink.Route{Table: routeTable}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range list {
			lines = append(lines, fmt.Sprintf("route %s, type %d, protocol %d", r.Dst, r.Type, r.Protocol))
		}
	}
	return lines, nil
}

// rules lists the routing rules.
func rules() ([]string, error) {
	var lines []string
	for _, f := range lab.Families {
		list, err := netlink.RuleList(int(families[f]))
		if err != nil {
			return nil, fmt.Errorf("list routing rules: %w", err)
		}
		for _, r := range list {
			lines = append(lines, fmt.Sprintf("%s routing rule %d: mark %#x, table %d", f, r.Priority, r.Mark, r.Table))
		}
	}
	return lines, nil
}

// chains lists the chains and rules of a program, table after table and chain after chain by name. The built-in chains are left out:
// they come with the first rule and stay.
func (k *kernel) chains(program string) ([]string, error) {
	out, err := k.node.Output(context.Background(), program)
	if err != nil {
		return nil, err
	}
	var lines []string
	table := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		chain, _, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":") && strings.Contains(line, " - "):
			lines = append(lines, fmt.Sprintf("%s %s chain %s", program, table, chain[1:]))
		case strings.HasPrefix(line, "-A"):
			lines = append(lines, fmt.Sprintf("%s %s rule of %s", program, table, line[3:]))
		}
	}
	chainOf := func(line string) string { return strings.Join(strings.Fields(line)[:5:5], " ") }
	slices.SortStableFunc(lines, func(x, y string) int { return strings.Compare(chainOf(x+" ."), chainOf(y+" .")) })
	return lines, nil
}
