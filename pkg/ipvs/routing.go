package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

const (
	// routeTable is the routing table of ours: "FL" in ASCII.
	routeTable = 17996
	// rulePriority comes after the kernel's own local table (0), and before the rules of CNI plugins that route by source (AWS VPC CNI's
	// begin at 512).
	rulePriority = 30
	// routeProtocol tells our routes from others that somebody may put in our table: "F" in ASCII, which no routing daemon uses
	// (linux/rtnetlink.h, iproute2's rt_protos).
	routeProtocol = 70
	// ruleProtocol is the kernel's own: whenever it starts, systemd-networkd deletes all rules of others but the kernel's
	// (ManageForeignRoutingPolicyRules, on by default). That a rule is ours is told by its table.
	ruleProtocol = unix.RTPROT_KERNEL
)

// kernelRoutes are our table and rule in the kernel.
type kernelRoutes struct {
	family service.Family
	mark   uint32
}

// newRoutes returns the routes of a family. Packets that have all bits of mark are led to them.
func newRoutes(family service.Family, mark uint32) routes { return kernelRoutes{family, mark} }

func (r kernelRoutes) List() ([]netip.Addr, error) {
	ours := netlink.Route{Table: routeTable, Protocol: routeProtocol, Type: unix.RTN_LOCAL}
	list, err := rtnl.Whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(rtnl.Family(r.family), &ours, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	})
	if err != nil {
		return nil, fmt.Errorf("list the routes of table %d: %w", routeTable, err)
	}
	var addrs []netip.Addr
	for _, route := range list {
		if route.Dst == nil {
			continue
		}
		addr, _ := netip.AddrFromSlice(route.Dst.IP)
		if ones, _ := route.Dst.Mask.Size(); addr.IsValid() && ones == addr.BitLen() {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// Add replaces, so that a route of somebody else to the same address does not stand in the way forever.
func (r kernelRoutes) Add(list ...netip.Addr) error {
	return each(list, func(h *netlink.Handle, a netip.Addr) error {
		if err := h.RouteReplace(localRoute(a)); err != nil {
			return fmt.Errorf("add a local route for %s to table %d: %w", a, routeTable, err)
		}
		return nil
	})
}

func (r kernelRoutes) Delete(list ...netip.Addr) error {
	return each(list, func(h *netlink.Handle, a netip.Addr) error {
		if err := h.RouteDel(localRoute(a)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete the route for %s from table %d: %w", a, routeTable, err)
		}
		return nil
	})
}

// each does something for all of many addresses over one socket: one of its own for each takes three times as long.
func each(list []netip.Addr, do func(*netlink.Handle, netip.Addr) error) error {
	if len(list) == 0 {
		return nil
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket for routes: %w", err)
	}
	defer h.Close()
	var failures []error
	for _, a := range list {
		if err := do(h, a); err != nil {
			failures = append(failures, err)
		}
	}
	return some(failures)
}

func localRoute(a netip.Addr) *netlink.Route {
	return &netlink.Route{
		Table:     routeTable,
		Protocol:  routeProtocol,
		Type:      unix.RTN_LOCAL,
		Scope:     netlink.SCOPE_HOST,
		LinkIndex: rtnl.Loopback,
		Dst:       rtnl.HostNet(a),
	}
}

// Ruled is false as well where a rule to our table asks for anything else, such as another mark.
func (r kernelRoutes) Ruled() (bool, error) {
	list, err := r.rules()
	if err != nil {
		return false, err
	}
	return len(list) == 1 && r.wants(list[0]), nil
}

// AddRule removes what other rules lead to our table only after ours is there.
func (r kernelRoutes) AddRule() error {
	if err := netlink.RuleAdd(r.rule()); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add a rule to table %d: %w", routeTable, err)
	}
	return r.deleteRules(func(rule netlink.Rule) bool { return !r.wants(rule) })
}

func (r kernelRoutes) DeleteRule() error {
	return r.deleteRules(func(netlink.Rule) bool { return true })
}

func (r kernelRoutes) deleteRules(unwanted func(netlink.Rule) bool) error {
	list, err := r.rules()
	if err != nil {
		return err
	}
	var errs []error
	for _, rule := range list {
		if !unwanted(rule) {
			continue
		}
		if err := netlink.RuleDel(&rule); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("delete a rule to table %d: %w", routeTable, err))
		}
	}
	return errors.Join(errs...)
}

// rules are all rules that lead to our table.
func (r kernelRoutes) rules() ([]netlink.Rule, error) {
	list, err := rtnl.Whole(func() ([]netlink.Rule, error) { return netlink.RuleList(rtnl.Family(r.family)) })
	if err != nil {
		return nil, fmt.Errorf("list the routing rules: %w", err)
	}
	return slices.DeleteFunc(list, func(rule netlink.Rule) bool { return rule.Table != routeTable }), nil
}

func (r kernelRoutes) rule() *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = rtnl.Family(r.family)
	rule.Priority = rulePriority
	rule.Mark, rule.Mask = r.mark, &r.mark
	rule.Table = routeTable
	rule.Protocol = ruleProtocol
	return rule
}

func (r kernelRoutes) wants(rule netlink.Rule) bool {
	return rule.Priority == rulePriority && rule.Mark == r.mark && rule.Mask != nil && *rule.Mask == r.mark &&
		!rule.Invert && rule.Src == nil && rule.Dst == nil && rule.IifName == "" && rule.OifName == ""
}
