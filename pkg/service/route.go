package service

import "net/netip"

// Packet is the first packet of a connection, as a node meets it.
type Packet struct {
	Protocol    Protocol
	Source      netip.Addr
	Destination netip.AddrPort
	// ToNode: the destination is an address of the node itself (what the kernel calls a local address).
	ToNode bool
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
	// Destinations is where a forwarded packet may go. Each has the same chance.
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
	port, frontend := t.frontendOf(p)
	if port == nil {
		return Verdict{Action: Pass}
	}
	if len(port.Endpoints) == 0 {
		return Verdict{Action: frontend.WithoutEndpoints, Service: port.Name}
	}
	v := Verdict{Action: Forward, Service: port.Name}
	for _, e := range port.Endpoints {
		v.Destinations = append(v.Destinations, Destination{
			Endpoint:   e.Address,
			Masquerade: t.masquerades(frontend, p.Source, e),
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
				if (f.Kind == NodePort) == nodePorts && f.answers(p) {
					return port, f
				}
			}
		}
	}
	return nil, Frontend{}
}

func (f Frontend) answers(p Packet) bool {
	if f.Kind == NodePort {
		return p.ToNode && !p.Destination.Addr().IsLoopback() && f.Address.Port() == p.Destination.Port()
	}
	return f.Address == p.Destination
}

func (t *Table) masquerades(f Frontend, source netip.Addr, e Endpoint) bool {
	switch {
	case f.Masquerade == MasqueradeAll:
		return true
	case f.Masquerade == MasqueradeOutsiders && !t.Pods.Contains(source):
		return true
	default:
		return e.MayBeHere() && e.Address.Addr() == source
	}
}
