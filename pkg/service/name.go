package service

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// PortName names one port of one Service: the unit in which everything is compiled, programmed and repaired.
type PortName struct {
	Namespace string
	Name      string
	Port      string // the port's name; empty for a Service's only, unnamed port
	Protocol  Protocol
}

// Service returns the name of the Service that the port belongs to.
func (n PortName) Service() types.NamespacedName {
	return types.NamespacedName{Namespace: n.Namespace, Name: n.Name}
}

// Compare orders names by namespace, name, port and protocol.
func (n PortName) Compare(o PortName) int {
	return cmp.Or(cmp.Compare(n.Namespace, o.Namespace), cmp.Compare(n.Name, o.Name),
		cmp.Compare(n.Port, o.Port), cmp.Compare(n.Protocol, o.Protocol))
}

// String returns "namespace/name:port/protocol", without ":port" where the port has no name.
func (n PortName) String() string {
	if n.Port == "" {
		return fmt.Sprintf("%s/%s/%s", n.Namespace, n.Name, n.Protocol)
	}
	return fmt.Sprintf("%s/%s:%s/%s", n.Namespace, n.Name, n.Port, n.Protocol)
}

// PortSet is a set of service ports.
type PortSet map[PortName]struct{}

// Add puts names into the set.
func (s PortSet) Add(names ...PortName) {
	for _, n := range names {
		s[n] = struct{}{}
	}
}
