package iptables

import (
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// neighbors are the addresses of endpoints that may be pods of this node, and how many endpoints have each.
type neighbors map[netip.Addr]int

// count adds the endpoints of a service port so many times, or takes them away.
func (n neighbors) count(p *service.Port, by int) {
	if p == nil {
		return
	}
	for _, list := range [][]service.Endpoint{p.Endpoints, p.Local} {
		for _, e := range list {
			if !e.MayBeHere() {
				continue
			}
			addr := e.Address.Addr()
			if n[addr] += by; n[addr] == 0 {
				delete(n, addr)
			}
		}
	}
}
