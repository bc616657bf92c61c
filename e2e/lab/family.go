package lab

import "net/netip"

// Family is an IP version.
type Family int

// The IP versions.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Families are both IP versions, to loop over.
var Families = []Family{IPv4, IPv6}

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// Addresses is a dual-stack pair.
type Addresses struct {
	IPv4, IPv6 netip.Addr
}

// Address returns the address of one family.
func (a Addresses) Address(f Family) netip.Addr {
	if f == IPv6 {
		return a.IPv6
	}
	return a.IPv4
}

// AddrPort returns the address of one family with a port.
func (a Addresses) AddrPort(f Family, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Address(f), port)
}

// Wildcard returns the unspecified address of one family with a port.
func Wildcard(f Family, port uint16) netip.AddrPort {
	if f == IPv6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
}

// Loopback returns the loopback address of one family with a port.
func Loopback(f Family, port uint16) netip.AddrPort {
	if f == IPv6 {
		return netip.AddrPortFrom(netip.IPv6Loopback(), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}
