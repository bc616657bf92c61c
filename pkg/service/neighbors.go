package service

import "net/netip"

// Neighbors are the addresses of endpoints that may be pods of this node, and how many endpoints have each. Only these can reach
// themselves through a Service here.
type Neighbors map[netip.Addr]int

// Change takes service ports out and puts others in, either of which may be nil, and returns the addresses that are neighbors now, of
// those that the change concerns, and those that are none.
func (n Neighbors) Change(was, is []*Port) (neighbors, others []netip.Addr) {
	touched := map[netip.Addr]struct{}{}
	n.count(was, -1, touched)
	n.count(is, 1, touched)
	for addr := range touched {
		if n[addr] > 0 {
			neighbors = append(neighbors, addr)
			continue
		}
		delete(n, addr)
		others = append(others, addr)
	}
	return neighbors, others
}

func (n Neighbors) count(ports []*Port, by int, touched map[netip.Addr]struct{}) {
	for _, p := range ports {
		if p == nil {
			continue
		}
		for _, list := range [][]Endpoint{p.Endpoints, p.Local} {
			for _, e := range list {
				if e.MayBeHere() {
					n[e.Address.Addr()] += by
					touched[e.Address.Addr()] = struct{}{}
				}
			}
		}
	}
}
