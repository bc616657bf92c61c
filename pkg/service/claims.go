package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// address is a place in the node's address space that only one service port can have. A node port has no IP.
type address struct {
	ip       netip.Addr
	port     uint16
	protocol Protocol
}

func (a address) String() string {
	if !a.ip.IsValid() {
		return fmt.Sprintf("node port %d/%s", a.port, a.protocol)
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(a.ip, a.port), a.protocol)
}

func addressOf(f Frontend, p Protocol) address {
	return address{f.Address.Addr(), f.Address.Port(), p}
}

// claim is one service port's wish to have an address.
type claim struct {
	kind    Kind
	created int64 // Unix time in nanoseconds
	name    PortName
}

// compare orders claims on one address: the first one has it. A cluster IP goes before all else, since the API server gives
// it to one Service only while anybody may write any external IP into a Service (CVE-2020-8554). Then the older Service goes
// before the younger, so that nobody can take away what another already has; names decide where both are of one second.
func (c claim) compare(o claim) int {
	return cmp.Or(cmp.Compare(min(c.kind, ExternalIP), min(o.kind, ExternalIP)),
		cmp.Compare(c.created, o.created), c.name.Compare(o.name), cmp.Compare(c.kind, o.kind))
}

// claims knows who wants each address.
type claims map[address][]claim

// set replaces what a Service claims, and returns the other Services for which something may have changed.
func (cs claims) set(svc types.NamespacedName, old, wanted []*Port, created int64) []types.NamespacedName {
	var others []types.NamespacedName
	for _, p := range old {
		for _, f := range p.Frontends {
			others = append(others, cs.drop(addressOf(f, p.Name.Protocol), p.Name)...)
		}
	}
	for _, p := range wanted {
		for _, f := range p.Frontends {
			others = append(others, cs.add(addressOf(f, p.Name.Protocol), claim{f.Kind, created, p.Name})...)
		}
	}
	return slices.DeleteFunc(others, func(o types.NamespacedName) bool { return o == svc })
}

func (cs claims) add(a address, c claim) []types.NamespacedName {
	held := cs[a]
	at, found := slices.BinarySearchFunc(held, c, claim.compare)
	if found {
		return nil
	}
	others := claimants(held) // first: Insert may write into the same array
	cs[a] = slices.Insert(held, at, c)
	return others
}

func (cs claims) drop(a address, name PortName) []types.NamespacedName {
	left := slices.DeleteFunc(cs[a], func(c claim) bool { return c.name == name })
	if len(left) == 0 {
		delete(cs, a)
		return nil
	}
	cs[a] = left
	return claimants(left)
}

func claimants(list []claim) []types.NamespacedName {
	var names []types.NamespacedName
	for _, c := range list {
		names = append(names, c.name.Service())
	}
	return names
}

// holder returns the service port that has the address.
func (cs claims) holder(a address) (claim, bool) {
	if list := cs[a]; len(list) > 0 {
		return list[0], true
	}
	return claim{}, false
}
