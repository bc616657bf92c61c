package service

import (
	"net/netip"
	"slices"
)

// Table is what a node has to forward in one IP family. It is a value: nothing in it changes once it has been built, and
// Tables built one after the other share the Ports that did not change.
type Table struct {
	Family Family
	// Pods tells pods of the cluster from everybody else, by source address. It is invalid where nothing is known, and
	// then nobody counts as an outsider.
	Pods netip.Prefix
	// Ports is sorted by name.
	Ports []*Port
}

// Port is one port of one Service, with every way in and every endpoint behind it.
type Port struct {
	Name PortName
	// Frontends is where the port answers, sorted by kind, then address. It may be empty: a port whose every address has
	// been claimed by another Service is still listed.
	Frontends []Frontend
	// Endpoints may be sent to from any frontend. It is sorted by address and holds none twice.
	Endpoints []Endpoint
}

// Frontend is one address and port on which a Service answers.
type Frontend struct {
	Kind Kind
	// Address is the virtual IP and its port. A node port has no IP: it answers on all addresses of the node, except
	// loopback.
	Address netip.AddrPort
	// Masquerade says for which clients the source address is rewritten to one of the node's.
	Masquerade Masquerade
	// WithoutEndpoints is what becomes of packets while there is no endpoint to send them to.
	WithoutEndpoints Action
}

// Kind is the kind of a frontend.
type Kind uint8

// The kinds of frontend, in the order in which a packet meets them: an address of a Service goes before a node port.
const (
	ClusterIP Kind = iota
	ExternalIP
	LoadBalancerIP
	NodePort
)

// String returns the kind as the Service API speaks of it.
func (k Kind) String() string {
	return [...]string{"cluster IP", "external IP", "load-balancer IP", "node port"}[k]
}

// Masquerade says which clients of a frontend are rewritten to the node's address, so that replies come back through the
// node. A pod that reaches itself through a Service always is, or it would see a packet from itself.
type Masquerade uint8

// The masquerade rules, each including the one before it.
const (
	MasqueradeHairpin   Masquerade = iota // only a pod that reaches itself
	MasqueradeOutsiders                   // whoever is not one of Table.Pods
	MasqueradeAll                         // everybody
)

// Endpoint is one address and port behind a Service.
type Endpoint struct {
	Address netip.AddrPort
	Place   Place
}

// Place says where an endpoint runs, seen from this node.
type Place uint8

// The places of an endpoint. A slice made by hand may not say on which node an endpoint is.
const (
	PlaceUnknown Place = iota
	ThisNode
	OtherNode
)

// MayBeHere reports whether the endpoint can be a pod of this node, and so can reach itself through a Service here.
func (e Endpoint) MayBeHere() bool { return e.Place != OtherNode }

// Port returns the named port, or nil.
func (t *Table) Port(name PortName) *Port {
	if t == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(t.Ports, name, func(p *Port, n PortName) int { return p.Name.Compare(n) })
	if !found {
		return nil
	}
	return t.Ports[i]
}

// Equal reports whether two ports mean the same to a backend. Either may be nil, which equals only nil.
func (p *Port) Equal(o *Port) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.Name == o.Name && slices.Equal(p.Frontends, o.Frontends) && slices.Equal(p.Endpoints, o.Endpoints)
}
