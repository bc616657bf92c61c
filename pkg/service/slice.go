package service

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// endpointSlice is what the compiler needs of an EndpointSlice, without a pointer into it.
type endpointSlice struct {
	service   types.NamespacedName
	ports     []slicePort
	endpoints []sliceEndpoint
	problems  []Problem
}

type slicePort struct {
	name     string
	protocol Protocol
	port     uint16
}

type sliceEndpoint struct {
	address     netip.Addr
	place       Place
	ready       bool
	terminating bool
}

// sliceService names the Service that a slice belongs to.
func sliceService(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	return types.NamespacedName{Namespace: slice.Namespace, Name: name}, name != ""
}

// readSlice reads a slice of the given family. What it cannot use it leaves out and names in problems.
func readSlice(slice *discoveryv1.EndpointSlice, family Family, node string) *endpointSlice {
	owner, _ := sliceService(slice)
	s := &endpointSlice{service: owner}
	object := fmt.Sprintf("EndpointSlice %s/%s", slice.Namespace, slice.Name)
	for _, p := range slice.Ports {
		if p.Port == nil {
			continue // means "all ports", which a Service port cannot name
		}
		port, err := readSlicePort(p)
		if err != nil {
			s.problems = append(s.problems, Problem{object, err.Error(), "the port is left out; correct ports in the slice"})
			continue
		}
		s.ports = append(s.ports, port)
	}
	s.endpoints = make([]sliceEndpoint, 0, len(slice.Endpoints))
	for i := range slice.Endpoints {
		e, err := readEndpoint(&slice.Endpoints[i], family, node)
		if err != nil {
			s.problems = append(s.problems, Problem{object, "endpoint " + err.Error(), "the endpoint is left out; correct its address in the slice"})
			continue
		}
		s.endpoints = append(s.endpoints, e)
	}
	return s
}

func readSlicePort(p discoveryv1.EndpointPort) (slicePort, error) {
	number, err := parsePort(*p.Port)
	if err != nil {
		return slicePort{}, err
	}
	var api corev1.Protocol
	if p.Protocol != nil {
		api = *p.Protocol
	}
	protocol, err := ParseProtocol(api)
	if err != nil {
		return slicePort{}, err
	}
	read := slicePort{protocol: protocol, port: number}
	if p.Name != nil {
		read.name = *p.Name
	}
	return read, nil
}

// readEndpoint reads one endpoint. A condition that is not set means ready, and not terminating: the API leaves it to the
// consumer, and this is how every consumer decides. Only the first address counts; the API says the rest are the same pod.
func readEndpoint(e *discoveryv1.Endpoint, family Family, node string) (sliceEndpoint, error) {
	if len(e.Addresses) == 0 {
		return sliceEndpoint{}, fmt.Errorf("without an address")
	}
	addr, err := parseAddress(e.Addresses[0], family)
	if err != nil {
		return sliceEndpoint{}, err
	}
	read := sliceEndpoint{address: addr, place: PlaceUnknown, ready: isTrue(e.Conditions.Ready, true), terminating: isTrue(e.Conditions.Terminating, false)}
	if e.NodeName != nil {
		read.place = OtherNode
		if *e.NodeName == node {
			read.place = ThisNode
		}
	}
	return read, nil
}

func isTrue(condition *bool, unset bool) bool {
	if condition == nil {
		return unset
	}
	return *condition
}
