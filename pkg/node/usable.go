package node

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// usable returns the address that other machines can reach the node by, if it is one.
//
//   - Loopback addresses, and all others of scope host, are the node's own business. Whether node ports answer on 127.0.0.1
//     is a choice of its own: see Selection.Loopback.
//   - Link-local addresses of either family mean another machine on each link, and an IPv6 one says nothing without its
//     interface. Multicast addresses belong to groups. None of them is a node's address.
//   - A tentative IPv6 address does not answer yet: another machine may turn out to have it, and then it has failed
//     duplicate address detection and never will. An optimistic one answers meanwhile.
//   - A deprecated address stays. It is not chosen as the source of new connections, but does answer, and programs that
//     move an address between machines deprecate it on purpose.
//   - An address of an interface that is down stays too: nothing announces its coming up, and until then nobody reaches it.
func usable(a netlink.Addr) (netip.Addr, bool) {
	if a.IPNet == nil || a.Scope == unix.RT_SCOPE_HOST || a.Flags&unix.IFA_F_DADFAILED != 0 {
		return netip.Addr{}, false
	}
	if a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0 {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(a.IP)
	addr = addr.Unmap()
	return addr, ok && addr.IsGlobalUnicast() // private addresses are among these, for all their name
}
