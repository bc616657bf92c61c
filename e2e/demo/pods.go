package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

// pod is one endpoint of the Services.
type pod struct {
	name, node string
	lab.Addresses
	port uint16 // where it listens
}

// server is where the pod answers in one family.
func (p pod) server(f lab.Family) netip.AddrPort { return p.AddrPort(f, p.port) }

// pods reads from the EndpointSlices which pods there are, in the order of their addresses. All Services with endpoints have
// to have the same ones, as they have the same selector.
func (e *examples) pods() ([]pod, error) {
	found := map[string]pod{}
	slicesOf := map[string]int{}
	for _, slice := range e.slices {
		for i := range slice.Endpoints {
			name, err := note(found, slice, &slice.Endpoints[i])
			if err != nil {
				return nil, fmt.Errorf("endpoint %d of the EndpointSlice %s: %w", i+1, slice.Name, err)
			}
			slicesOf[name]++
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no EndpointSlice has an endpoint")
	}
	var all []pod
	for name, p := range found {
		if slicesOf[name] != len(e.slices) || !p.IPv4.IsValid() || !p.IPv6.IsValid() {
			return nil, fmt.Errorf("the pod %s is not in every EndpointSlice, or not in both families", name)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y pod) int { return cmp.Or(cmp.Compare(x.node, y.node), x.IPv4.Compare(y.IPv4)) })
	return all, nil
}

// note adds what an endpoint says to what is known of its pod, whose name it returns.
func note(found map[string]pod, slice *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) (string, error) {
	if e.TargetRef == nil || e.NodeName == nil || len(e.Addresses) != 1 || len(slice.Ports) != 1 || slice.Ports[0].Port == nil {
		return "", errors.New("it needs a targetRef, a nodeName, one address and one port")
	}
	addr, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return "", err
	}
	p, known := found[e.TargetRef.Name]
	here := pod{name: e.TargetRef.Name, node: *e.NodeName, port: uint16(*slice.Ports[0].Port), Addresses: p.Addresses}
	if known && here != p {
		return "", fmt.Errorf("the pod %s is on %s with port %d here, and on %s with port %d elsewhere", p.name, here.node, here.port, p.node, p.port)
	}
	p = here
	own := &p.IPv4
	if family(slice) == lab.IPv6 {
		own = &p.IPv6
	}
	if own.IsValid() && *own != addr {
		return "", fmt.Errorf("the pod %s has the address %s here and %s elsewhere", p.name, addr, *own)
	}
	*own = addr
	found[p.name] = p
	return p.name, nil
}

func family(slice *discoveryv1.EndpointSlice) lab.Family {
	if slice.AddressType == discoveryv1.AddressTypeIPv6 {
		return lab.IPv6
	}
	return lab.IPv4
}
