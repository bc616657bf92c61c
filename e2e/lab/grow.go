package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mostNodes is how many nodes a lab can grow to: their pods' networks must stay clear of those for AddAddresses.
const mostNodes = 60

// AddNode adds a node to a lab that stands already. Beyond the third, nodes have pods but no room for AddAddresses.
func (l *Lab) AddNode() (*Host, error) {
	number := len(l.Nodes) + 1
	if number > mostNodes {
		return nil, fmt.Errorf("lab: %d nodes, want at most %d", number, mostNodes)
	}
	name := fmt.Sprintf("node%d", number)
	node, err := l.attach(name, backboneAddresses(10+number))
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", name, err)
	}
	node.place = placement{number: number, nextPod: 2}
	if err := node.setSysctls(routerSysctls); err != nil {
		return nil, err
	}
	l.Nodes = append(l.Nodes, node)
	return node, l.routePods()
}

// AddHost adds a host to the backbone that is no node, with the last part of its addresses.
func (l *Lab) AddHost(name string, last int) (*Host, error) {
	host, err := l.attach(name, backboneAddresses(last))
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", name, err)
	}
	return host, l.routePods()
}

// AddLocal makes the host answer for a whole range of addresses, without an interface that lists them. Who sends to them needs a
// route.
func (h *Host) AddLocal(block netip.Prefix) error {
	return h.route(func(nl *netlink.Handle) error {
		lo, err := nl.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find link lo: %w", err)
		}
		return replaceRoute(nl, block, netlink.Route{
			Type:      unix.RTN_LOCAL,
			Table:     unix.RT_TABLE_LOCAL,
			Scope:     netlink.SCOPE_HOST,
			LinkIndex: lo.Attrs().Index,
		})
	})
}

// AddLoneHost adds a host with no link but loopback, and no addresses of its own.
func (l *Lab) AddLoneHost(name string) (*Host, error) { return l.addHost(name, Addresses{}) }

// AddTap gives the host an interface whose other end is a virtual machine that is started in the host.
func (h *Host) AddTap(name string, addresses ...netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := h.route(func(nl *netlink.Handle) error {
		return nl.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR})
	})
	if err != nil {
		return fmt.Errorf("add tap %s: %w", name, err)
	}
	return h.setUp(name, addresses...)
}

// TakeLink moves an interface from the namespace of the process to the host, and gives it addresses.
func (h *Host) TakeLink(name string, addresses ...netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetNsFd(link, h.ns); err != nil {
		return fmt.Errorf("move link %s to %s: %w", name, h.Name, err)
	}
	return h.setUp(name, addresses...)
}
