package service

import (
	"errors"
	"fmt"
	"net/netip"
)

// errOtherFamily says that an address is fine, but of the other IP family.
var errOtherFamily = errors.New("is of the other IP family")

// parseAddress reads an address that traffic may be sent to, and refuses those that mean a different machine on each
// machine, or none: what the API server refuses too, but a manifest or an old object may hold.
func parseAddress(text string, family Family) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	}
	addr = addr.Unmap().WithZone("")
	switch {
	case FamilyOf(addr) != family:
		return netip.Addr{}, fmt.Errorf("%s %w", text, errOtherFamily)
	case addr.IsUnspecified(), addr.IsMulticast():
		return netip.Addr{}, fmt.Errorf("%s is not the address of a host", text)
	case addr.IsLoopback():
		return netip.Addr{}, fmt.Errorf("%s is a loopback address", text)
	case addr.IsLinkLocalUnicast():
		return netip.Addr{}, fmt.Errorf("%s is a link-local address", text)
	}
	return addr, nil
}

func parsePort(port int32) (uint16, error) {
	if port < 1 || port > 65535 {
		return 0, fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	return uint16(port), nil
}
