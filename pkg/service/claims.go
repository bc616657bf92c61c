package service

import (
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

// claim is a Claim in few bytes: thousands of Services may claim one address.
type claim struct {
	port *Port // as in service.wanted
	kind Kind
}

func (c claim) compare(o claim) int {
	return Claim{c.kind, c.port.Created, c.port.Name}.Compare(Claim{o.kind, o.port.Created, o.port.Name})
}

func (c claim) service() types.NamespacedName { return c.port.Name.Service() }

// claims has all claims on each address, the first one being the holder's.
type claims map[address][]claim

// set replaces the claims of a Service, and returns the other Services that may have won or lost an address by that, or whose runner-up
// is another one now. All others are as they were.
func (cs claims) set(svc types.NamespacedName, old, wanted []*Port) []types.NamespacedName {
	var others []types.NamespacedName
	note := func(c claim, changed bool) {
		if changed && c.service() != svc {
			others = append(others, c.service())
		}
	}
	for _, p := range old {
		for _, f := range p.Frontends {
			note(cs.drop(addressOf(f, p.Name.Protocol), claim{p, f.Kind}))
		}
	}
	for _, p := range wanted {
		for _, f := range p.Frontends {
			note(cs.add(addressOf(f, p.Name.Protocol), claim{p, f.Kind}))
		}
	}
	return others
}

// add returns the claim of another for which something has changed: of the holder so far, or of the one that has got a new runner-up.
func (cs claims) add(a address, c claim) (other claim, changed bool) {
	list := cs[a]
	at, found := slices.BinarySearchFunc(list, c, claim.compare)
	if found {
		return claim{}, false
	}
	if at < 2 && len(list) > 0 {
		other, changed = list[0], true
	}
	cs[a] = slices.Insert(list, at, c)
	return other, changed
}

// drop returns the claim of another for which something has changed: of the new holder, or of the one that has got a new runner-up.
func (cs claims) drop(a address, c claim) (other claim, changed bool) {
	at, found := slices.BinarySearchFunc(cs[a], c, claim.compare)
	if !found {
		return claim{}, false
	}
	list := slices.Delete(cs[a], at, at+1)
	if len(list) == 0 {
		delete(cs, a)
		return claim{}, false
	}
	cs[a] = list
	return list[0], at < 2
}

// holder returns the claim of the service port that has the address.
func (cs claims) holder(a address) (claim, bool) {
	if list := cs[a]; len(list) > 0 {
		return list[0], true
	}
	return claim{}, false
}
