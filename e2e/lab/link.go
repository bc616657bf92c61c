package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route runs f with a route netlink handle of the host's namespace.
func (h *Host) route(f func(*netlink.Handle) error) error {
	return h.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		defer nl.Close()
		return f(nl)
	})
}

// addVeth makes a veth pair with one end in h and the other in peer, without
// either end ever being in the namespace the process was started in.
func (h *Host) addVeth(name string, peer *Host, peerName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return h.route(func(nl *netlink.Handle) error {
		err := nl.LinkAdd(&netlink.Veth{
			LinkAttrs:     attrs,
			PeerName:      peerName,
			PeerNamespace: netlink.NsFd(peer.ns),
		})
		if err != nil {
			return fmt.Errorf("add veth %s with peer %s in %s: %w", name, peerName, peer.Name, err)
		}
		return nil
	})
}

// setUp turns a link on and gives it addresses that can be used at once.
func (h *Host) setUp(name string, prefixes ...netip.Prefix) error {
	return h.route(func(nl *netlink.Handle) error {
		link, err := nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if err := nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("set link %s up: %w", name, err)
		}
		for _, p := range prefixes {
			addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
			if err := nl.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("add address %s to %s: %w", p, name, err)
			}
		}
		return nil
	})
}

// AddRoute sends packets for dst to the gateway via, which must be on a link
// of the host. An existing route for dst is replaced.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr) error {
	return h.setRoute(dst, netlink.Route{Gw: via.AsSlice()})
}

// addLinkRoute makes dst a neighbour on a link.
func (h *Host) addLinkRoute(dst netip.Addr, link string) error {
	return h.route(func(nl *netlink.Handle) error {
		l, err := nl.LinkByName(link)
		if err != nil {
			return fmt.Errorf("find link %s: %w", link, err)
		}
		return replaceRoute(nl, single(dst), netlink.Route{
			LinkIndex: l.Attrs().Index,
			Scope:     netlink.SCOPE_LINK,
		})
	})
}

func (h *Host) setRoute(dst netip.Prefix, r netlink.Route) error {
	return h.route(func(nl *netlink.Handle) error { return replaceRoute(nl, dst, r) })
}

func replaceRoute(nl *netlink.Handle, dst netip.Prefix, r netlink.Route) error {
	r.Dst = ipNet(dst)
	if err := nl.RouteReplace(&r); err != nil {
		return fmt.Errorf("set route to %s: %w", dst, err)
	}
	return nil
}

// single is the prefix that holds one address only.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
