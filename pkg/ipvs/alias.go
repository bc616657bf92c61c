package ipvs

import (
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// aliasRange is where the second virtual servers of frontends are, which differ for pods and for everybody else: IPVS knows a virtual
// server by nothing but its address and port. The node rewrites the packets of pods to there by one rule for all (NETMAP), which
// keeps the rest of the address. No packet ever has such an address outside the node: 240.0.0.0/4 is reserved (RFC 1112), and so is
// 100::/8 (RFC 4291).
func aliasRange(f service.Family) netip.Prefix {
	if f == service.IPv6 {
		return netip.MustParsePrefix("100:464c::/32")
	}
	return netip.MustParsePrefix("240.0.0.0/4")
}

// alias is where the second virtual server of a frontend is, as NETMAP computes it.
func alias(k key) key {
	addr := k.address.Addr()
	family := service.FamilyOf(addr)
	to := aliasRange(family)
	raw, base := addr.AsSlice(), to.Addr().AsSlice()
	for i := range raw {
		kept := byte(0xff)
		if bits := to.Bits() - 8*i; bits >= 8 {
			kept = 0
		} else if bits > 0 {
			kept >>= bits
		}
		raw[i] = base[i] | raw[i]&kept
	}
	addr, _ = netip.AddrFromSlice(raw)
	return key{k.protocol, netip.AddrPortFrom(addr, k.address.Port())}
}

// aliases says whose alias an address is. Two frontends whose addresses differ in nothing but what the alias drops cannot both have it.
type aliases map[key]key

// claim gives a frontend its alias, unless another has it.
func (a aliases) claim(k key) bool {
	at := alias(k)
	if owner, taken := a[at]; taken {
		return owner == k
	}
	a[at] = k
	return true
}

// release takes it away again, and reports whether the frontend had it.
func (a aliases) release(k key) bool {
	at := alias(k)
	if owner, taken := a[at]; !taken || owner != k {
		return false
	}
	delete(a, at)
	return true
}

func isAlias(k key) bool {
	addr := k.address.Addr()
	return aliasRange(service.FamilyOf(addr)).Contains(addr)
}
