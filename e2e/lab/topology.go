package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxNodes is how many nodes the addresses on the backbone have room for, and manyNodes how many of them have room for manyNetwork
// in 10.244.0.0/16.
const (
	maxNodes  = 9
	manyNodes = 3
)

const bridge = "br0"

// defaultRoutes are the destinations of the default route in each family.
var defaultRoutes = []netip.Prefix{
	netip.PrefixFrom(netip.IPv4Unspecified(), 0),
	netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// backboneAddresses returns the addresses of a host on the backbone. The last
// part is written the same in both families: 172.30.0.11 and fd00:30::11.
func backboneAddresses(last int) Addresses {
	return Addresses{
		IPv4: netip.MustParseAddr(fmt.Sprintf("172.30.0.%d", last)),
		IPv6: netip.MustParseAddr(fmt.Sprintf("fd00:30::%d", last)),
	}
}

// backbonePrefixes are the addresses with the length of the backbone network.
func backbonePrefixes(a Addresses) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(a.IPv4, 24), netip.PrefixFrom(a.IPv6, 64)}
}

func (l *Lab) build(nodes int) error {
	if err := l.addBackbone(); err != nil {
		return err
	}
	for n := 1; n <= nodes; n++ {
		node, err := l.attach(fmt.Sprintf("node%d", n), backboneAddresses(10+n))
		if err != nil {
			return err
		}
		if err := node.setSysctls(routerSysctls); err != nil {
			return err
		}
		node.place = placement{number: n, nextPod: 2}
		l.Nodes = append(l.Nodes, node)
	}
	outside, err := l.attach("outside", backboneAddresses(100))
	if err != nil {
		return err
	}
	l.Outside = outside
	return l.routePods()
}

// addBackbone makes the router that is also the switch.
func (l *Lab) addBackbone() error {
	h, err := l.addHost("backbone", backboneAddresses(1))
	if err != nil {
		return err
	}
	l.Backbone = h
	if err := h.setSysctls(routerSysctls); err != nil {
		return err
	}
	if err := h.addBridge(bridge); err != nil {
		return err
	}
	if err := h.setUp(bridge, backbonePrefixes(h.Addresses)...); err != nil {
		return err
	}
	for _, dst := range defaultRoutes {
		if err := h.setRoute(dst, netlink.Route{Type: unix.RTN_BLACKHOLE}); err != nil {
			return err
		}
	}
	return nil
}

// addBridge makes a plain switch: it floods multicast, so that neighbour
// discovery works with no multicast querier, and does not hand bridged
// packets to the IP hooks of its namespace.
func (h *Host) addBridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	snooping := false
	err := h.route(func(nl *netlink.Handle) error {
		return nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping})
	})
	if err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	return h.Do(func() error {
		const dir = "bridge/bridge-nf-call-"
		if _, err := os.Stat("/proc/sys/net/" + dir + "iptables"); errors.Is(err, os.ErrNotExist) {
			return nil // no br_netfilter in this kernel
		}
		return writeSysctls([][2]string{{dir + "iptables", "0"}, {dir + "ip6tables", "0"}})
	})
}

// attach makes a host with an interface eth0 on the backbone and a default
// route through it.
func (l *Lab) attach(name string, addrs Addresses) (*Host, error) {
	h, err := l.addHost(name, addrs)
	if err != nil {
		return nil, err
	}
	if err := h.addVeth("eth0", l.Backbone, name); err != nil {
		return nil, err
	}
	if err := l.Backbone.plug(name, bridge); err != nil {
		return nil, err
	}
	if err := l.Backbone.setUp(name); err != nil {
		return nil, err
	}
	if err := h.setUp("eth0", backbonePrefixes(addrs)...); err != nil {
		return nil, err
	}
	for i, f := range Families {
		if err := h.AddRoute(defaultRoutes[i], l.Backbone.Address(f)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// plug makes a link a port of a bridge.
func (h *Host) plug(name, bridge string) error {
	return h.route(func(nl *netlink.Handle) error {
		br, err := nl.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("find bridge %s: %w", bridge, err)
		}
		port, err := nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if err := nl.LinkSetMaster(port, br); err != nil {
			return fmt.Errorf("plug %s into %s: %w", name, bridge, err)
		}
		return nil
	})
}

// routePods makes every host on the backbone send each node's pod networks
// to that node.
func (l *Lab) routePods() error {
	for _, h := range l.hosts {
		for _, node := range l.Nodes {
			if h == node || h.place.node != nil { // a pod goes by way of its node
				continue
			}
			for _, p := range podNetworks(node.place.number) {
				if err := h.AddRoute(p, node.Address(familyOf(p.Addr()))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}
