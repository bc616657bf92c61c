package service

import (
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first packet of a connection, as a node meets it.
type Packet struct {
	Protocol    Protocol
	Source      netip.Addr
	Destination netip.AddrPort
	// Interface is where the packet came in; empty for one that the node itself sends.
	Interface string
	// FromNode: the source is an address of the node itself; ToNode: the destination is (what the kernel calls local).
	FromNode, ToNode bool
}

// Action is what becomes of a packet.
type Action uint8

// The possible actions.
const (
	Pass    Action = iota // no Service wants the packet: it goes on as if there were none
	Forward               // it goes to an endpoint
	Reject                // it is refused with an ICMP port unreachable
	Drop                  // it is dropped without a word, so that the sender tries elsewhere
)

// String returns the action in one lower-case word.
func (a Action) String() string { return [...]string{"pass", "forward", "reject", "drop"}[a] }

// Verdict is what must become of a packet.
type Verdict struct {
	Action Action
	// Service is the port that wants the packet, unless Action is Pass.
	Service PortName
	// Destinations is where a forwarded packet may go. Each has the same chance, unless the client has an affinity to one, or the
	// mode can spread connections otherwise: Port.Scheduling and Endpoint.Weight change chances, never the destinations.
	Destinations []Destination
}

// Destination is one endpoint that a packet may go to.
type Destination struct {
	Endpoint netip.AddrPort
	// Masquerade: the endpoint sees an address of the node instead of the client's.
	Masquerade bool
}

// Route says what must become of a packet. It is a plain reading of the Table, and slow: what a backend makes of the same
// Table has to agree with it.
func (t *Table) Route(p Packet) Verdict {
	v := t.route(p)
	if v.Action != Forward && martian(p) {
		v.Action = Drop
	}
	return v
}

// martian reports whether a packet comes from elsewhere to an IPv4 loopback address. The kernel drops such packets by itself, but
// not once node ports have been let answer on loopback addresses; then it has to be done for it (CVE-2020-8558).
func martian(p Packet) bool {
	to := p.Destination.Addr()
	return to.Is4() && to.IsLoopback() && !p.FromNode
}

func (t *Table) route(p Packet) Verdict {
	port, f := t.frontendOf(p)
	if port == nil {
		return Verdict{Action: Pass}
	}
	if len(port.Endpoints) == 0 && len(port.Local) == 0 {
		return Verdict{Action: f.WithoutEndpoints, Service: port.Name}
	}
	if !f.admits(p.Source) {
		return Verdict{Action: Drop, Service: port.Name}
	}
	endpoints, masquerade := t.choice(port, f, p)
	if len(endpoints) == 0 {
		return Verdict{Action: f.WithoutEndpoints, Service: port.Name}
	}
	v := Verdict{Action: Forward, Service: port.Name}
	for _, e := range endpoints {
		v.Destinations = append(v.Destinations, Destination{
			Endpoint:   e.Address,
			Masquerade: t.masquerades(masquerade, p, e),
		})
	}
	return v
}

// frontendOf finds the frontend that answers the packet. An address of a Service goes before a node port, so that a node
// port does not take over a virtual IP that is at the same time an address of the node.
func (t *Table) frontendOf(p Packet) (*Port, Frontend) {
	for _, nodePorts := range []bool{false, true} {
		for _, port := range t.Ports {
			if port.Name.Protocol != p.Protocol {
				continue
			}
			for _, f := range port.Frontends {
				if (f.Kind == NodePort) == nodePorts && t.answers(f, p) {
					return port, f
				}
			}
		}
	}
	return nil, Frontend{}
}

func (t *Table) answers(f Frontend, p Packet) bool {
	if f.Kind == NodePort {
		return p.ToNode && t.NodePorts.answers(p) && f.Address.Port() == p.Destination.Port()
	}
	return f.Address == p.Destination
}

// answers reports whether node ports answer where a packet is sent, which is an address of the node.
func (n NodeAddresses) answers(p Packet) bool {
	addr := p.Destination.Addr()
	if addr.IsLoopback() {
		return n.Loopback && addr.Is4() && p.FromNode
	}
	return n.All || slices.Contains(n.Listed, addr)
}

func (f Frontend) admits(client netip.Addr) bool {
	return f.Clients == nil || slices.ContainsFunc(f.Clients, func(r netip.Prefix) bool { return r.Contains(client) })
}

// choice returns the endpoints that a packet may go to, and who is masqueraded on the way.
func (t *Table) choice(port *Port, f Frontend, p Packet) ([]Endpoint, Masquerade) {
	switch {
	case f.Scope == Cluster:
		return port.Endpoints, f.Masquerade
	case f.Scope == Node:
		return port.Local, f.Masquerade
	case t.Pods.Contains(p):
		return port.Endpoints, MasqueradeHairpin
	case p.FromNode:
		return port.Endpoints, MasqueradeAll
	default:
		return port.Local, MasqueradeHairpin
	}
}

func (t *Table) masquerades(rule Masquerade, p Packet, e Endpoint) bool {
	switch {
	case rule == MasqueradeAll:
		return true
	case rule == MasqueradeOutsiders && !t.Pods.Contains(p):
		return true
	default:
		return e.MayBeHere() && e.Address.Addr() == p.Source
	}
}

// Contains reports whether a packet comes from a pod.
func (l LocalTraffic) Contains(p Packet) bool {
	switch {
	case l.Sources.IsValid():
		return l.Sources.Contains(p.Source)
	case l.Interface != "":
		return p.Interface == l.Interface
	case l.InterfacePrefix != "":
		return strings.HasPrefix(p.Interface, l.InterfacePrefix)
	}
	return false
}
