package tracer

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
)

// family is the address family of a rule set. It is not given from outside:
// the first address read settles it, and from then on the other family is
// refused, as iptables refuses IPv6 addresses and ip6tables IPv4 ones.
type family uint8

const (
	familyOpen family = iota
	familyIPv4
	familyIPv6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// settle takes note of a family that was seen.
func (f *family) settle(seen family) error {
	if *f == familyOpen {
		*f = seen
	}
	if *f != seen {
		return errors.New("IPv4 and IPv6 do not mix in one rule set")
	}
	return nil
}

// parseAddr reads an address and settles the family.
func (f *family) parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an address", s)
	}
	return a, f.settle(familyOf(a))
}

// network is an address with a mask. Masks with holes are legal in iptables;
// they have no prefix and are compared byte by byte.
type network struct {
	addr   netip.Addr
	prefix netip.Prefix // not valid if the mask has holes
	mask   []byte       // only if the mask has holes
}

func (f *family) parseNetwork(s string) (network, error) {
	text, mask, masked := strings.Cut(s, "/")
	a, err := f.parseAddr(text)
	if err != nil {
		return network{}, err
	}
	if !masked {
		return network{addr: a, prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if n, err := parseNumber(mask, 8); err == nil {
		if int(n) > a.BitLen() {
			return network{}, fmt.Errorf("mask %q is longer than the address", mask)
		}
		p := netip.PrefixFrom(a, int(n)).Masked()
		return network{addr: p.Addr(), prefix: p}, nil
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != a.BitLen() || m.Zone() != "" {
		return network{}, fmt.Errorf("%q is not a mask", mask)
	}
	return maskNetwork(a, m.AsSlice()), nil
}

func maskNetwork(a netip.Addr, mask []byte) network {
	ones, holes, ended := 0, false, false
	for _, b := range mask {
		lead := bits.LeadingZeros8(^b)
		if ended && b != 0 || b<<lead != 0 {
			holes = true
		}
		ended = ended || lead < 8
		ones += lead
	}
	if !holes {
		p := netip.PrefixFrom(a, ones).Masked()
		return network{addr: p.Addr(), prefix: p}
	}
	kept := a.AsSlice()
	for i := range kept {
		kept[i] &= mask[i]
	}
	a, _ = netip.AddrFromSlice(kept)
	return network{addr: a, mask: mask}
}

// whole says that the network holds every address.
func (n network) whole() bool { return n.prefix.IsValid() && n.prefix.Bits() == 0 }

// single says that the network is one address.
func (n network) single() bool { return n.prefix.IsValid() && n.prefix.IsSingleIP() }

func (n network) contains(a netip.Addr) bool {
	if n.prefix.IsValid() {
		return n.prefix.Contains(a)
	}
	got, want := a.AsSlice(), n.addr.AsSlice()
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i]&n.mask[i] != want[i] {
			return false
		}
	}
	return true
}

func (n network) String() string {
	if n.prefix.IsValid() {
		return n.prefix.String()
	}
	m, _ := netip.AddrFromSlice(n.mask)
	return n.addr.String() + "/" + m.String()
}
