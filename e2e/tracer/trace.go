package tracer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Trace walks a packet through the hooks of the kernel and returns all that
// can happen to it, with equal outcomes merged.
//
// What the node sends walks OUTPUT, and POSTROUTING after its destination may
// have changed; if the destination is then local, it comes back through lo and
// walks PREROUTING and INPUT, where no more NAT is done. Other packets walk
// PREROUTING and then either INPUT or FORWARD and POSTROUTING. The routes
// themselves are not looked at: every destination can be reached.
func (rs *Ruleset) Trace(p Packet) ([]Outcome, error) {
	w, err := rs.newWalk(p)
	if err != nil {
		return nil, fmt.Errorf("tracing %s: %w", p.Protocol, err)
	}
	lots := []lot{{flight: flight{src: w.packet.Source, dst: w.packet.Destination, mark: p.Mark}, chance: 1}}
	if p.FromNode {
		lots = w.output(lots)
	} else {
		lots = w.input(lots)
	}
	if w.err != nil {
		return nil, fmt.Errorf("tracing %s %s to %s: %w", p.Protocol, p.Source, p.Destination, w.err)
	}
	w.finish(Accept, lots)
	return w.result(), nil
}

// walk is one Trace under way.
type walk struct {
	rs       *Ruleset
	packet   Packet
	proto    uint8
	state    ctState
	tcpFlags uint8

	// Where the walk is now.
	in       string // the interface -i sees
	hasOut   bool   // whether -o sees one at this hook
	tracking bool   // whether conntrack has seen the packet already

	outcomes map[Outcome]float64 // by outcomes of probability 0
	err      error               // the first one
}

func (rs *Ruleset) newWalk(p Packet) (*walk, error) {
	p, err := p.normal()
	if err != nil {
		return nil, err
	}
	w := &walk{rs: rs, packet: p, outcomes: map[Outcome]float64{}}
	if rs.family != familyOpen && rs.family != familyOf(p.Destination.Addr()) {
		return nil, fmt.Errorf("packet to %s is not of the family of the rules", p.Destination)
	}
	if w.proto, err = p.protocolNumber(); err != nil {
		return nil, err
	}
	if w.state, err = p.ctState(); err != nil {
		return nil, err
	}
	// Only the packet that opens a connection is a bare SYN.
	w.tcpFlags = tcpAck
	if w.state&(stateNew|stateRelated) != 0 {
		w.tcpFlags = tcpSyn
	}
	return w, nil
}

// output walks what the node sends.
func (w *walk) output(lots []lot) []lot {
	w.in, w.hasOut, w.tracking = "", true, false
	lots = w.hook("raw", "OUTPUT", lots)
	w.tracking = true
	lots = w.hook("mangle", "OUTPUT", lots)
	lots = w.hook("nat", "OUTPUT", lots)
	lots = w.hook("filter", "OUTPUT", lots)
	lots = w.hook("security", "OUTPUT", lots)
	lots = w.hook("mangle", "POSTROUTING", lots)
	// Whether the packet comes back is a matter of its destination, which
	// the nat table does not change here any more.
	lots = w.hook("nat", "POSTROUTING", lots)
	local, away := w.route(lots)

	w.in, w.hasOut = "lo", false
	local = w.hook("raw", "PREROUTING", local)
	local = w.hook("mangle", "PREROUTING", local)
	local = w.hook("mangle", "INPUT", local)
	local = w.hook("filter", "INPUT", local)
	local = w.hook("security", "INPUT", local)
	return append(local, away...)
}

// input walks what comes in through an interface.
func (w *walk) input(lots []lot) []lot {
	w.in, w.hasOut, w.tracking = w.packet.InInterface, false, false
	lots = w.hook("raw", "PREROUTING", lots)
	w.tracking = true
	lots = w.hook("mangle", "PREROUTING", lots)
	lots = w.hook("nat", "PREROUTING", lots)
	local, away := w.route(lots)

	local = w.hook("mangle", "INPUT", local)
	local = w.hook("filter", "INPUT", local)
	local = w.hook("security", "INPUT", local)
	local = w.hook("nat", "INPUT", local)

	// Since Linux 5.7 a forwarded packet has its incoming interface in
	// POSTROUTING too.
	w.hasOut = true
	away = w.hook("mangle", "FORWARD", away)
	away = w.hook("filter", "FORWARD", away)
	away = w.hook("security", "FORWARD", away)
	away = w.hook("mangle", "POSTROUTING", away)
	away = w.hook("nat", "POSTROUTING", away)
	return append(local, away...)
}

// route parts the packets that stay on the node from those that leave it.
func (w *walk) route(lots []lot) (local, away []lot) {
	for _, l := range lots {
		if w.local(l.dst.Addr()) {
			local = append(local, l)
		} else {
			away = append(away, l)
		}
	}
	return local, away
}

func (w *walk) local(a netip.Addr) bool {
	return a.IsLoopback() || w.packet.Local != nil && w.packet.Local(a)
}

// outInterface is the interface -o sees.
func (w *walk) outInterface(f *flight) string {
	switch {
	case !w.hasOut:
		return ""
	case w.packet.FromNode && w.packet.OutInterface == "" && w.local(f.dst.Addr()):
		return "lo"
	}
	return w.packet.OutInterface
}

// ctState is the state matches see. Before conntrack, in the table raw, there
// is no connection yet.
func (w *walk) ctState(f *flight) ctState {
	switch {
	case f.untracked:
		return stateUntracked
	case !w.tracking:
		return stateInvalid
	}
	state := w.state
	if f.dst != w.packet.Destination {
		state |= stateDNAT
	}
	if f.masquerade && f.snat != w.packet.Source.Addr() {
		state |= stateSNAT
	}
	return state
}

// fail keeps the first error; the walk goes on to no effect.
func (w *walk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// finish books the lots as outcomes.
func (w *walk) finish(a Action, lots []lot) {
	for _, l := range lots {
		w.outcomes[Outcome{
			Action: a, Destination: l.dst, DNAT: l.dnat, Masquerade: l.masquerade, SNAT: l.snat,
		}] += l.chance
	}
}

// result lists the outcomes in an order that does not depend on the walk.
func (w *walk) result() []Outcome {
	list := make([]Outcome, 0, len(w.outcomes))
	for o, chance := range w.outcomes {
		o.Probability = chance
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Outcome) int {
		return cmp.Or(
			cmp.Compare(a.Action, b.Action),
			a.Destination.Compare(b.Destination),
			compareBool(a.DNAT, b.DNAT),
			compareBool(a.Masquerade, b.Masquerade),
			a.SNAT.Compare(b.SNAT),
		)
	})
	return list
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
