package service

import (
	"cmp"
	"net/netip"
	"slices"
)

// found is every endpoint of one service port, of each address only one: sorted.
type found []foundEndpoint

type foundEndpoint struct {
	Endpoint
	ready, serving, terminating bool
	node, zone                  hint
}

// gather finds the endpoints of a service port in all slices. A pod that is being replaced may stand in two slices at once, and a
// pod's address may go to a new pod before the old one has left its slice: of one address, the entry that is not terminating
// counts, and of those the one that is ready.
func gather(slicesByName map[string]*endpointSlice, name PortName, zone string, weights *weights) found {
	var all found
	for _, s := range slicesByName {
		for _, p := range s.portsOf(name) {
			all = slices.Grow(all, len(s.endpoints))
			for i := range s.endpoints {
				e := &s.endpoints[i]
				all = append(all, foundEndpoint{
					Endpoint: Endpoint{netip.AddrPortFrom(e.address, p.port), e.place, weights.of(e)},
					ready:    e.ready, serving: e.serving, terminating: e.terminating,
					node: e.nodeHints, zone: s.hintedFor(e, zone),
				})
			}
		}
	}
	slices.SortFunc(all, foundEndpoint.compare)
	return slices.CompactFunc(all, func(x, y foundEndpoint) bool { return x.Address == y.Address })
}

// compare orders by address, and puts the entry that counts first.
func (e foundEndpoint) compare(o foundEndpoint) int {
	return cmp.Or(e.Address.Compare(o.Address), compareBool(e.terminating, o.terminating), compareBool(o.ready, e.ready),
		compareBool(o.serving, e.serving), cmp.Compare(o.Place, e.Place), cmp.Compare(o.node, e.node), cmp.Compare(o.zone, e.zone),
		cmp.Compare(o.Weight, e.Weight))
}

// cluster is where traffic goes that any endpoint may have: the ready ones, nearest first where the slices have hints for that,
// and without a ready one those that still serve while they terminate (KEP-1669).
func (f found) cluster() []Endpoint {
	return f.usable(func(*foundEndpoint) bool { return true }, f.near())
}

// local is where traffic goes that must stay on this node. It is decided apart from the others, and hints do not count.
func (f found) local() []Endpoint {
	return f.usable(func(e *foundEndpoint) bool { return e.Place == ThisNode }, nil)
}

// usable picks the ready endpoints among those that are meant and near, or the terminating ones if none is.
func (f found) usable(meant func(*foundEndpoint) bool, near func(*foundEndpoint) bool) []Endpoint {
	list := f.pick(func(e *foundEndpoint) bool { return e.ready && meant(e) && (near == nil || near(e)) })
	if len(list) == 0 {
		list = f.pick(func(e *foundEndpoint) bool { return e.serving && e.terminating && meant(e) })
	}
	return list
}

func (f found) pick(want func(*foundEndpoint) bool) []Endpoint {
	var list []Endpoint
	for i := range f {
		if want(&f[i]) {
			list = append(list, f[i].Endpoint)
		}
	}
	return list
}

// near says which endpoints are near enough, by the hints: those for this node, else those for this zone. A level of hints
// counts only if every ready endpoint has them and one of them is meant for us: one that is missing means that whoever makes the
// hints has not finished, and traffic must not pile up on the rest. nil: all are near enough.
func (f found) near() func(*foundEndpoint) bool {
	node := func(e *foundEndpoint) hint { return e.node }
	zone := func(e *foundEndpoint) hint { return e.zone }
	for _, level := range []func(*foundEndpoint) hint{node, zone} {
		all, some := true, false
		for i := range f {
			if f[i].ready {
				all = all && level(&f[i]) != noHint
				some = some || level(&f[i]) == forThis
			}
		}
		if all && some {
			return func(e *foundEndpoint) bool { return level(e) == forThis }
		}
	}
	return nil
}

// serving is every endpoint that says it serves.
func (f found) serving() []netip.AddrPort {
	var list []netip.AddrPort
	for i := range f {
		if f[i].serving || f[i].ready {
			list = append(list, f[i].Address)
		}
	}
	return list
}

// readyHere counts the addresses of this node's ready endpoints, over all slices of a Service.
func readyHere(slicesByName map[string]*endpointSlice) int {
	addresses := map[netip.Addr]struct{}{}
	for _, s := range slicesByName {
		if len(s.ports) == 0 {
			continue
		}
		for i := range s.endpoints {
			if e := &s.endpoints[i]; e.ready && e.place == ThisNode {
				addresses[e.address] = struct{}{}
			}
		}
	}
	return len(addresses)
}

// compareBool orders false before true.
func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	default:
		return 1
	}
}
