package tracer

import (
	"errors"
	"fmt"
	"net/netip"
)

// Packet describes a packet: the first of its connection, unless State says
// otherwise.
type Packet struct {
	Protocol            string // "tcp", "udp", "sctp", "icmp" or a number
	Source, Destination netip.AddrPort

	// FromNode says that the node itself sent the packet.
	FromNode bool
	// InInterface and OutInterface are what -i and -o look at. What the node
	// sends to itself goes through "lo" if OutInterface is empty.
	InInterface, OutInterface string
	// PhysIn and PhysOut are the ports of a bridge the packet came in by and
	// goes out by; only -m physdev looks at them.
	PhysIn, PhysOut string

	// State is the state of the connection: NEW, ESTABLISHED, RELATED,
	// INVALID or UNTRACKED. Empty is NEW. Only a NEW packet is translated;
	// for others the translation of the first one is not repeated.
	State string
	Mark  uint32

	// Local says which addresses are the node's own. Loopback addresses
	// always are; nil is none but those.
	Local func(netip.Addr) bool
}

// Action is what becomes of a packet in the end.
type Action uint8

// The actions.
const (
	Accept Action = iota // it reaches Destination
	Reject               // it is refused, and the sender is told
	Drop                 // it is refused silently
)

// String names the action as a target is named.
func (a Action) String() string {
	switch a {
	case Accept:
		return "ACCEPT"
	case Reject:
		return "REJECT"
	case Drop:
		return "DROP"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Outcome is one thing that can happen to a packet. For a packet that is
// refused it tells how far the translation had come.
type Outcome struct {
	Action      Action
	Destination netip.AddrPort // after DNAT
	DNAT        bool           // a DNAT or REDIRECT was taken
	Masquerade  bool           // a MASQUERADE or SNAT was taken
	SNAT        netip.Addr     // the address of an SNAT, if that was taken
	Probability float64        // the outcomes of a trace add up to 1
}

// String tells the outcome in a line.
func (o Outcome) String() string {
	s := fmt.Sprintf("%.4f %s %s", o.Probability, o.Action, o.Destination)
	if o.DNAT {
		s += " DNAT"
	}
	if o.SNAT.IsValid() {
		return s + " SNAT " + o.SNAT.String()
	}
	if o.Masquerade {
		return s + " MASQUERADE"
	}
	return s
}

// normal checks the packet and writes its addresses in their shortest form.
func (p Packet) normal() (Packet, error) {
	if !p.Source.IsValid() || !p.Destination.IsValid() {
		return p, errors.New("packet without source or destination")
	}
	p.Source = netip.AddrPortFrom(p.Source.Addr().Unmap().WithZone(""), p.Source.Port())
	p.Destination = netip.AddrPortFrom(p.Destination.Addr().Unmap().WithZone(""), p.Destination.Port())
	if p.Source.Addr().Is4() != p.Destination.Addr().Is4() {
		return p, errors.New("packet between IPv4 and IPv6")
	}
	return p, nil
}

// protocolNumber takes "icmp" for the one of the packet's family.
func (p Packet) protocolNumber() (uint8, error) {
	if p.Protocol == "icmp" && p.Destination.Addr().Is6() {
		return protocolNumbers["ipv6-icmp"], nil
	}
	n, err := parseProtocol(p.Protocol)
	if err == nil && n == anyProtocol {
		err = errors.New("packet without a protocol")
	}
	return n, err
}

// ctState is the state the caller gave the packet.
func (p Packet) ctState() (ctState, error) {
	if p.State == "" {
		return stateNew, nil
	}
	for i, name := range ctStateNames[:5] {
		if p.State == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("unknown packet state %q", p.State)
}
