package service

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Table is what a node has to forward in one IP family. It is a value: nothing in it changes once it has been built, and
// Tables built one after the other share the Ports that did not change.
type Table struct {
	Family Family
	// Pods tells pods from everybody else.
	Pods LocalTraffic
	// NodePorts says on which addresses of the node node ports answer.
	NodePorts NodeAddresses
	// MasqueradeAddress is the address that masqueraded clients get; invalid: that of the interface they leave by.
	MasqueradeAddress netip.Addr
	// Ports is sorted by name.
	Ports []*Port
	// HealthChecks is sorted by Service.
	HealthChecks []HealthCheck
}

// LocalTraffic tells the traffic of pods from that of everybody else. At most one of its fields is set; where none is,
// nobody counts as a pod, nor as an outsider.
type LocalTraffic struct {
	Sources         netip.Prefix // by source address
	Interface       string       // by the interface that a packet came in by
	InterfacePrefix string       // by the beginning of that interface's name
}

// Known reports whether pods can be told at all.
func (l LocalTraffic) Known() bool { return l != LocalTraffic{} }

// NodeAddresses is a choice among the node's own addresses. Loopback addresses are among them only where Loopback says so.
type NodeAddresses struct {
	// All addresses that the node has at any moment; Listed is unused then.
	All bool
	// Listed is sorted.
	Listed []netip.Addr
	// Loopback: node ports answer on 127.0.0.0/8 too, to the node itself. IPv6 cannot: its loopback address does not leave
	// the node.
	Loopback bool
}

// HealthCheck is a port on which a load balancer asks whether this node has endpoints of a Service.
type HealthCheck struct {
	Service        types.NamespacedName
	Port           uint16
	LocalEndpoints int // distinct addresses of ready endpoints on this node
}

// Port is one port of one Service, with every way in and every endpoint behind it.
type Port struct {
	Name PortName
	// Created is when the Service was created, as Unix time in nanoseconds; 0: the object does not say.
	Created int64
	// Frontends is where the port answers, sorted by kind, then address. It may be empty: a port whose every address has
	// been claimed by another Service is still listed.
	Frontends []Frontend
	// Endpoints is where a frontend of scope Cluster sends to, after readiness and topology; sorted by address, none twice.
	Endpoints []Endpoint
	// Local is where a frontend of scope Node sends to: endpoints of this node. It is empty where no frontend asks for it.
	Local []Endpoint
	// Affinity is how long a client stays with an endpoint after its last connection; 0: not at all.
	Affinity time.Duration
	// Scheduling is how the Service wants connections spread over its endpoints, where the mode has a choice.
	Scheduling Scheduling
	// Serving is every endpoint whose standing flows must be left alone, sorted: all that say they serve, whether new flows
	// go there or not. It is kept for UDP only, where the end of a flow cannot be seen.
	Serving []netip.AddrPort
}

// Frontend is one address and port on which a Service answers.
type Frontend struct {
	Kind Kind
	// Address is the virtual IP and its port. A node port has no IP: see Table.NodePorts.
	Address netip.AddrPort
	// Scope says which of the port's endpoints the frontend sends to.
	Scope Scope
	// Masquerade says for which clients the source address is rewritten to one of the node's.
	Masquerade Masquerade
	// WithoutEndpoints is what becomes of packets while there is no endpoint to send them to.
	WithoutEndpoints Action
	// Clients are the only ones that are admitted, sorted; nil: everybody. Packets of others are dropped.
	Clients []netip.Prefix
}

// Scope says which endpoints a frontend sends to.
type Scope uint8

// The scopes of a frontend.
const (
	// Cluster sends to Port.Endpoints.
	Cluster Scope = iota
	// Node sends to Port.Local (internalTrafficPolicy: Local).
	Node
	// NodeForOutsiders sends to Port.Local, but pods of the cluster and the node itself as Cluster does
	// (externalTrafficPolicy: Local). Outsiders keep their address.
	NodeForOutsiders
)

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
	// Weight is the endpoint's share beside the others', for schedulers that take one; 0 counts as 1.
	Weight uint16
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

// SameNode reports whether two Tables say the same of the node itself. Then only their Ports and HealthChecks may differ.
func (t *Table) SameNode(o *Table) bool {
	return t.Family == o.Family && t.Pods == o.Pods && t.NodePorts.Equal(o.NodePorts) && t.MasqueradeAddress == o.MasqueradeAddress
}

// Equal reports whether two ports mean the same to a backend. Either may be nil, which equals only nil.
func (p *Port) Equal(o *Port) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.Name == o.Name && p.Created == o.Created && p.Affinity == o.Affinity && p.Scheduling == o.Scheduling &&
		slices.EqualFunc(p.Frontends, o.Frontends, Frontend.Equal) &&
		slices.Equal(p.Endpoints, o.Endpoints) && slices.Equal(p.Local, o.Local) && slices.Equal(p.Serving, o.Serving)
}

// Equal reports whether two frontends mean the same.
func (f Frontend) Equal(o Frontend) bool {
	return f.Kind == o.Kind && f.Address == o.Address && f.Scope == o.Scope && f.Masquerade == o.Masquerade &&
		f.WithoutEndpoints == o.WithoutEndpoints && (f.Clients == nil) == (o.Clients == nil) && slices.Equal(f.Clients, o.Clients)
}

// Equal reports whether two choices among the node's addresses are the same.
func (n NodeAddresses) Equal(o NodeAddresses) bool {
	return n.All == o.All && n.Loopback == o.Loopback && slices.Equal(n.Listed, o.Listed)
}
