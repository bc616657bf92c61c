package service

import "net/netip"

// Family is an IP family. A Table, and whatever programs one, is of one family; a dual-stack node has two.
type Family uint8

// The IP families, by version number.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address; an IPv4 address mapped into IPv6 counts as IPv6.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() {
		return IPv4
	}
	return IPv6
}

// Bits is the length of an address of the family in bits.
func (f Family) Bits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

// String returns "IPv4" or "IPv6", the spelling of the Kubernetes API.
func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}
