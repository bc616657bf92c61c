package kubeproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// deviceName is the dummy device of IPVS mode, which has all virtual IPs as its addresses.
const deviceName = "kube-ipvs0"

// routeProtocol tells the routes that stand in for its addresses: "K" in ASCII, which no routing daemon uses.
const routeProtocol = 75

// device returns kube-proxy's, or nil where there is none.
func device() (netlink.Link, error) {
	link, err := netlink.LinkByName(deviceName)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", deviceName, err)
	}
	return link, nil
}

// addresses are those of a family that the device has.
func addresses(link netlink.Link, family service.Family) ([]netip.Addr, error) {
	if link == nil {
		return nil, nil
	}
	addrs, err := listAddresses(link, family)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", deviceName, err)
	}
	return slices.DeleteFunc(addrs, netip.Addr.IsLinkLocalUnicast), nil
}

// ownAddresses are all those of a family that the node has, on any link.
func ownAddresses(family service.Family) ([]netip.Addr, error) {
	addrs, err := listAddresses(nil, family)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	return addrs, nil
}

func listAddresses(link netlink.Link, family service.Family) ([]netip.Addr, error) {
	list, err := rtnl.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, rtnl.Family(family)) })
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}

// standIns are the addresses that have a route instead.
func standIns(family service.Family) ([]netip.Addr, error) {
	filter := netlink.Route{Table: unix.RT_TABLE_LOCAL, Protocol: routeProtocol, Type: unix.RTN_LOCAL}
	list, err := rtnl.Whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(rtnl.Family(family), &filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	})
	if err != nil {
		return nil, fmt.Errorf("list local routes: %w", err)
	}
	var addrs []netip.Addr
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}

// replaceDevice gives each of the device's addresses of a family a local route in its place. Packets of connections through it get to
// the node as before, while the node's own new connections to it come from the node's address and no more from the virtual IP itself.
func replaceDevice(link netlink.Link, family service.Family) error {
	addrs, err := addresses(link, family)
	if err != nil || link == nil {
		return err
	}
	source := nodeAddress(family, addrs)
	for _, a := range addrs {
		if err := netlink.RouteAppend(standIn(a, source)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add a local route for %s: %w", a, err)
		}
		if err := netlink.AddrDel(link, &netlink.Addr{IPNet: rtnl.HostNet(a)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("delete %s from %s: %w", a, deviceName, err)
		}
	}
	return removeDevice(link)
}

// removeDevice deletes the device when it has no address left, of either family.
func removeDevice(link netlink.Link) error {
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		if left, err := addresses(link, f); err != nil || len(left) > 0 {
			return err
		}
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", deviceName, err)
	}
	return nil
}

func removeStandIn(a netip.Addr) error {
	if err := netlink.RouteDel(standIn(a, nil)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete the local route for %s: %w", a, err)
	}
	return nil
}

func standIn(a netip.Addr, source net.IP) *netlink.Route {
	return &netlink.Route{Table: unix.RT_TABLE_LOCAL, Protocol: routeProtocol, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		LinkIndex: rtnl.Loopback, Dst: rtnl.HostNet(a), Src: source}
}

// nodeAddress is the one from which the node sends to far away, or nil.
func nodeAddress(family service.Family, not []netip.Addr) net.IP {
	far := net.IPv4(192, 0, 2, 1)
	if family == service.IPv6 {
		far = net.ParseIP("2001:db8:ffff:ffff::1")
	}
	routes, err := netlink.RouteGet(far)
	if err != nil || len(routes) == 0 {
		return nil
	}
	addr, ok := netip.AddrFromSlice(routes[0].Src)
	for _, a := range not {
		if a == addr.Unmap() {
			return nil
		}
	}
	if !ok {
		return nil
	}
	return routes[0].Src
}
