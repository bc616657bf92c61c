package service

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	netutils "k8s.io/utils/net"
)

// errOtherFamily says that an address is fine, but of the other IP family.
var errOtherFamily = errors.New("is of the other IP family")

var errNoIP = errors.New("not an IP address")

// parseIP reads an address as kube-proxy does: leading zeros are allowed and mean nothing, since objects from before Kubernetes 1.36 may
// have them, and an IPv4 address that is mapped into IPv6 is an IPv4 address.
func parseIP(text string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return addr.Unmap(), nil // nearly all of them, without the allocations below
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	if !ok {
		return netip.Addr{}, errNoIP
	}
	return addr.Unmap(), nil
}

// parseRange reads a range of addresses as kube-proxy does: see parseIP. Bits behind its length do not matter.
func parseRange(text string) (netip.Prefix, error) {
	_, ipNet, err := netutils.ParseCIDRSloppy(strings.TrimSpace(text))
	if err != nil {
		return netip.Prefix{}, err
	}
	addr, _ := netip.AddrFromSlice(ipNet.IP)
	bits, _ := ipNet.Mask.Size()
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits), nil
}

// parseAddress reads an address that traffic may be sent to, and refuses those that mean a different machine on each
// machine, or none: what the API server refuses too, but a manifest or an old object may hold.
func parseAddress(text string, family Family) (netip.Addr, error) {
	addr, err := parseIP(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s is not an IP address", quoted(text))
	}
	switch {
	case FamilyOf(addr) != family:
		return netip.Addr{}, fmt.Errorf("%s %w", addr, errOtherFamily)
	case addr.IsUnspecified(), addr.IsMulticast():
		return netip.Addr{}, fmt.Errorf("%s is not the address of a host", addr)
	case addr.IsLoopback():
		return netip.Addr{}, fmt.Errorf("%s is a loopback address", addr)
	case addr.IsLinkLocalUnicast():
		return netip.Addr{}, fmt.Errorf("%s is a link-local address", addr)
	}
	return addr, nil
}

func parsePort(port int32) (uint16, error) {
	if port < 1 || port > 65535 {
		return 0, fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	return uint16(port), nil
}
