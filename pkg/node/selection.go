package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// primaryWord stands for the node's primary addresses in --nodeport-addresses.
const primaryWord = "primary"

// rangeWords stand for ranges of both IP families in --nodeport-addresses. kube-proxy has them since 1.37 (KEP-6032).
var rangeWords = map[string][]netip.Prefix{
	"localhost": {loopback4, netip.MustParsePrefix("::1/128")},
	"all":       {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
}

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

// Selection is which of the node's own addresses node ports answer on, of either family. The zero Selection is all.
//
// As in kube-proxy, a family of which nothing is said is not restricted: 10.0.0.0/8 alone leaves node ports on every IPv6
// address. The word "primary" speaks of both families, so with it a family has only the addresses that are primary or in a
// range. There kube-proxy differs: where the node has no primary address of a family, it opens all addresses of that family.
type Selection struct {
	ranges  []netip.Prefix
	primary bool
}

// ParseSelection reads the value of --nodeport-addresses: ranges of addresses, and the words "primary", "localhost" and "all", in any
// mixture. The error names every entry that is neither.
func ParseSelection(entries []string) (Selection, error) {
	var s Selection
	var wrong []error
	for _, entry := range entries {
		text := strings.TrimSpace(entry)
		if text == primaryWord {
			s.primary = true
			continue
		}
		if ranges, ok := rangeWords[text]; ok {
			s.ranges = append(s.ranges, ranges...)
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is4In6() {
			wrong = append(wrong, fmt.Errorf("%q is neither a range of addresses such as 10.0.0.0/8 or fd00::/8, nor one of the words primary, localhost and all", entry))
			continue
		}
		s.ranges = append(s.ranges, prefix.Masked())
	}
	if wrong != nil {
		return Selection{}, errors.Join(wrong...)
	}
	return s, nil
}

// all reports whether node ports of a family answer on all addresses.
func (s Selection) all(family service.Family) bool {
	named := false
	for _, r := range s.ranges {
		if service.FamilyOf(r.Addr()) != family {
			continue
		}
		if r.Bits() == 0 {
			return true
		}
		named = true
	}
	return !named && !s.primary
}

// NodeAddresses chooses the addresses of a family. own is what a Watcher found, primary is OwnNode.Primary; both may hold
// addresses of both families. A primary address is chosen even if the node does not have it: it may be about to get it.
//
// NodeAddresses.Loopback is left false, for the caller has to ask both Loopback and --iptables-localhost-nodeports.
func (s Selection) NodeAddresses(family service.Family, own, primary []netip.Addr) service.NodeAddresses {
	if s.all(family) {
		return service.NodeAddresses{All: true}
	}
	var listed []netip.Addr
	for _, addr := range own {
		if service.FamilyOf(addr) == family && s.names(addr) {
			listed = append(listed, addr)
		}
	}
	if s.primary {
		for _, addr := range primary {
			if service.FamilyOf(addr) == family {
				listed = append(listed, addr)
			}
		}
	}
	slices.SortFunc(listed, netip.Addr.Compare)
	return service.NodeAddresses{Listed: slices.Compact(listed)}
}

// names reports whether an address is in one of the ranges.
func (s Selection) names(addr netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(r netip.Prefix) bool { return r.Contains(addr) })
}

// Loopback reports whether the selection has loopback addresses of a family in it on which node ports can answer. A part of
// 127.0.0.0/8 counts as all of it, as in kube-proxy. IPv6 has none: its loopback address does not leave the node.
func (s Selection) Loopback(family service.Family) bool {
	if family != service.IPv4 {
		return false
	}
	return s.all(family) || slices.ContainsFunc(s.ranges, loopback4.Overlaps)
}
