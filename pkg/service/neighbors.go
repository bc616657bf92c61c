package service

import "net/netip"

// Neighbors are the addresses of endpoints that may be pods of this node, and how many endpoints have each. Only these can reach
// themselves through a Service here.
type Neighbors map[netip.Addr]int

// Change takes service ports out and puts others in, either of which may be nil, and returns the addresses that have come to be
// neighbors by that, and those that are none any more.
func (n Neighbors) Change(was, is []*Port) (come, gone []netip.Addr) {
	before := map[netip.Addr]int{}
	n.count(was, -1, before)
	n.count(is, 1, before)
	for addr, count := range before {
		if n[addr] == 0 {
			delete(n, addr)
		}
		switch {
		case count == 0 && n[addr] > 0:
			come = append(come, addr)
		case count > 0 && n[addr] == 0:
			gone = append(gone, addr)
		}
	}
	return come, gone
}

// count notes in before how many endpoints an address had.
func (n Neighbors) count(ports []*Port, by int, before map[netip.Addr]int) {
	for _, p := range ports {
		if p == nil {
			continue
		}
		for _, list := range [][]Endpoint{p.Endpoints, p.Local} {
			for _, e := range list {
				if !e.MayBeHere() {
					continue
				}
				addr := e.Address.Addr()
				if _, noted := before[addr]; !noted {
					before[addr] = n[addr]
				}
				n[addr] += by
			}
		}
	}
}
