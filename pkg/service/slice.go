package service

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// endpointSlice is what the compiler needs of an EndpointSlice, without a pointer into it.
type endpointSlice struct {
	ports     []slicePort // sorted
	endpoints []sliceEndpoint
	zones     [][]string // the different lists of zones that the endpoints' hints name
	problems  []Problem
}

// equal reports whether two slices say the same.
func (s *endpointSlice) equal(o *endpointSlice) bool {
	return slices.Equal(s.ports, o.ports) && slices.Equal(s.endpoints, o.endpoints) && slices.Equal(s.problems, o.problems) &&
		slices.EqualFunc(s.zones, o.zones, slices.Equal[[]string])
}

type slicePort struct {
	name     string
	protocol Protocol
	port     uint16
}

type sliceEndpoint struct {
	address     netip.Addr
	location    unique.Handle[location]
	place       Place
	ready       bool
	serving     bool
	terminating bool
	nodeHints   hint
	zoneHints   uint16 // one more than the index in endpointSlice.zones; 0: none
}

// hint is what an endpoint's hints say of this node.
type hint uint8

const (
	noHint hint = iota
	forOthers
	forThis
)

// sliceService names the Service that a slice belongs to.
func sliceService(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	return types.NamespacedName{Namespace: slice.Namespace, Name: name}, name != ""
}

// readSlice reads a slice of the given family. What it cannot use it leaves out and names in problems.
func readSlice(slice *discoveryv1.EndpointSlice, family Family, node string) *endpointSlice {
	s := &endpointSlice{}
	found := problems{object: "EndpointSlice " + slice.Namespace + "/" + slice.Name}
	for _, p := range slice.Ports {
		if p.Port == nil {
			continue // means "all ports", which a Service port cannot name
		}
		port, err := readSlicePort(p)
		if err != nil {
			found.add("the port is left out; correct ports in the slice", "%v", err)
			continue
		}
		s.ports = append(s.ports, port)
	}
	slices.SortFunc(s.ports, slicePort.compare)
	s.endpoints = make([]sliceEndpoint, 0, len(slice.Endpoints))
	zones := zoneLists{}
	for i := range slice.Endpoints {
		e, err := readEndpoint(&slice.Endpoints[i], family, node)
		if err != nil {
			found.add("the endpoint is left out; correct its address in the slice", "endpoint %v", err)
			continue
		}
		e.zoneHints = zones.number(slice.Endpoints[i].Hints)
		s.endpoints = append(s.endpoints, e)
	}
	s.zones, s.problems = zones.lists, found.all()
	return s
}

// zoneLists numbers the different lists of zones in the hints of a slice. Few lists differ, so an endpoint keeps a number only.
type zoneLists struct {
	lists   [][]string
	numbers map[string]uint16 // one more than the index in lists
}

// number returns the number of the zones that an endpoint is hinted for; 0 if there are none. So it is for more lists than can be
// counted: a slice in which some endpoints have no hints is served as if none had.
func (z *zoneLists) number(hints *discoveryv1.EndpointHints) uint16 {
	if hints == nil || len(hints.ForZones) == 0 {
		return 0
	}
	zones := make([]string, len(hints.ForZones))
	for i, zone := range hints.ForZones {
		zones[i] = zone.Name
	}
	key := strings.Join(zones, ",")
	if number, known := z.numbers[key]; known {
		return number
	}
	if len(z.lists) == math.MaxUint16 {
		return 0
	}
	if z.numbers == nil {
		z.numbers = map[string]uint16{}
	}
	z.lists = append(z.lists, zones)
	z.numbers[key] = uint16(len(z.lists))
	return z.numbers[key]
}

// hintedFor reports whether an endpoint is hinted for a zone, if it has hints for zones at all.
func (s *endpointSlice) hintedFor(e *sliceEndpoint, zone string) hint {
	switch {
	case e.zoneHints == 0:
		return noHint
	case slices.Contains(s.zones[e.zoneHints-1], zone):
		return forThis
	default:
		return forOthers
	}
}

// portsOf returns the ports that a service port leads to.
func (s *endpointSlice) portsOf(name PortName) []slicePort {
	wanted := slicePort{name: name.Port, protocol: name.Protocol}
	first, _ := slices.BinarySearchFunc(s.ports, wanted, slicePort.compare)
	last := first
	for last < len(s.ports) && s.ports[last].name == name.Port && s.ports[last].protocol == name.Protocol {
		last++
	}
	return s.ports[first:last]
}

func (p slicePort) compare(o slicePort) int {
	return cmp.Or(cmp.Compare(p.name, o.name), cmp.Compare(p.protocol, o.protocol), cmp.Compare(p.port, o.port))
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
	read := sliceEndpoint{
		address:     addr,
		location:    locate(e.NodeName, e.Zone),
		ready:       isTrue(e.Conditions.Ready, true),
		serving:     isTrue(e.Conditions.Serving, true),
		terminating: isTrue(e.Conditions.Terminating, false),
		nodeHints:   nodeHint(e.Hints, node),
	}
	if e.NodeName != nil {
		read.place = OtherNode
		if *e.NodeName == node {
			read.place = ThisNode
		}
	}
	return read, nil
}

func nodeHint(hints *discoveryv1.EndpointHints, node string) hint {
	switch {
	case hints == nil || len(hints.ForNodes) == 0:
		return noHint
	case slices.ContainsFunc(hints.ForNodes, func(n discoveryv1.ForNode) bool { return n.Name == node }):
		return forThis
	default:
		return forOthers
	}
}

func isTrue(condition *bool, unset bool) bool {
	if condition == nil {
		return unset
	}
	return *condition
}
