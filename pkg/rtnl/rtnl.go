// Package rtnl has what everybody needs who reads addresses, routes and rules from the kernel by the netlink library.
package rtnl

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// Loopback is the index of lo, the same in every network namespace.
const Loopback = 1

// Family is the kernel's number of an IP family.
func Family(f service.Family) int {
	if f == service.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Whole lists until nothing changed meanwhile: otherwise the list may have gaps. An interface that comes and goes in a loop leaves
// time enough between two changes. It returns netlink.ErrDumpInterrupted where there was none in ten attempts.
func Whole[T any](list func() ([]T, error)) (listed []T, err error) {
	const attempts = 10
	for range attempts {
		listed, err = list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return listed, err
}

// HostNet is the network that has an address alone.
func HostNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}
