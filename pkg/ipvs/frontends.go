package ipvs

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// frontends finds what answers at an address and port. An address of a Service goes before a node port.
type frontends struct {
	virtual   map[key]place
	nodePorts map[nodePort]place
	nodes     []netip.Addr // on which node ports answer
}

// place is one frontend of a service port.
type place struct {
	port     *service.Port
	frontend int
}

type nodePort struct {
	protocol service.Protocol
	port     uint16
}

func newFrontends(nodes service.NodeAddresses) *frontends {
	return &frontends{virtual: map[key]place{}, nodePorts: map[nodePort]place{}, nodes: nodes.Listed}
}

// change takes service ports out and puts others in, and returns every key for which that may make a difference.
func (f *frontends) change(was, is []*service.Port) map[key]struct{} {
	touched := map[key]struct{}{}
	for _, p := range was {
		for _, front := range p.Frontends {
			f.touch(p, front, touched)
			if front.Kind == service.NodePort {
				delete(f.nodePorts, nodePort{p.Name.Protocol, front.Address.Port()})
			} else {
				delete(f.virtual, key{p.Name.Protocol, front.Address})
			}
		}
	}
	for _, p := range is {
		for i, front := range p.Frontends {
			f.touch(p, front, touched)
			if front.Kind == service.NodePort {
				f.nodePorts[nodePort{p.Name.Protocol, front.Address.Port()}] = place{p, i}
			} else {
				f.virtual[key{p.Name.Protocol, front.Address}] = place{p, i}
			}
		}
	}
	return touched
}

// touch notes the keys that a frontend answers on.
func (f *frontends) touch(p *service.Port, front service.Frontend, touched map[key]struct{}) {
	if front.Kind != service.NodePort {
		touched[key{p.Name.Protocol, front.Address}] = struct{}{}
		return
	}
	for _, addr := range f.nodes {
		touched[key{p.Name.Protocol, netip.AddrPortFrom(addr, front.Address.Port())}] = struct{}{}
	}
}

// at returns what should be at a key; nil: nothing. Nothing is where aliases are, whatever a Service asks for: it would get what pods send to
// another one.
func (f *frontends) at(k key) *wish {
	if isAlias(k) {
		return nil
	}
	found, is := f.virtual[k]
	if !is {
		found, is = f.nodePorts[nodePort{k.protocol, k.address.Port()}]
		is = is && slices.Contains(f.nodes, k.address.Addr())
	}
	if !is {
		return nil
	}
	return newWish(found.port, found.port.Frontends[found.frontend])
}
