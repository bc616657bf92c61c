// Package servicetest makes Services and EndpointSlices for tests: short ones by hand, and random ones by the thousand.
package servicetest

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace is the namespace of every object made here.
const Namespace = "default"

// Node is the name of the node under test, and OtherNode of another one.
const (
	Node      = "node-1"
	OtherNode = "node-2"
)

// Service makes a Service with a cluster IP and ports such as "80", "http:80", "dns:53/UDP" or "http:80=30080", where the
// number behind the equals sign is the node port. It panics if a port cannot be read.
func Service(name, clusterIP string, ports ...string) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeClusterIP,
			ClusterIP:  clusterIP,
			ClusterIPs: []string{clusterIP},
		},
	}
	for _, text := range ports {
		rest, nodePort, _ := strings.Cut(text, "=")
		name, port, protocol := splitPort(rest)
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: name, Port: port, Protocol: protocol, NodePort: number(nodePort)})
	}
	return svc
}

// Slice makes an EndpointSlice of a Service. Its ports are written as those of Service; its endpoints are addresses, with
// "@node" behind where they are on a node, and then any of "!ready", "!serving", "terminating" and "zone/NAME"
// after blanks.
func Slice(service, name string, ports []string, endpoints ...string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, text := range ports {
		name, port, protocol := splitPort(text)
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &name, Port: &port, Protocol: &protocol})
	}
	for _, text := range endpoints {
		e := endpoint(text)
		if strings.Contains(e.Addresses[0], ":") {
			slice.AddressType = discoveryv1.AddressTypeIPv6
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return slice
}

func endpoint(text string) discoveryv1.Endpoint {
	words := strings.Fields(text)
	address, node, placed := strings.Cut(words[0], "@")
	e := discoveryv1.Endpoint{Addresses: []string{address}}
	if placed {
		e.NodeName = &node
	}
	yes, no := true, false
	for _, word := range words[1:] {
		kind, name, _ := strings.Cut(word, "/")
		switch kind {
		case "!ready":
			e.Conditions.Ready = &no
		case "!serving":
			e.Conditions.Serving = &no
		case "terminating":
			e.Conditions.Terminating = &yes
		case "zone":
			e.Zone = &name
		default:
			panic(fmt.Sprintf("what %q says of an endpoint", word))
		}
	}
	return e
}

// splitPort reads "name:port/protocol", of which only the port has to be there.
func splitPort(text string) (name string, port int32, protocol corev1.Protocol) {
	rest, last, found := strings.Cut(text, "/")
	protocol = corev1.ProtocolTCP
	if found {
		protocol = corev1.Protocol(last)
	}
	name, digits, named := strings.Cut(rest, ":")
	if !named {
		name, digits = "", rest
	}
	return name, number(digits), protocol
}

func number(text string) int32 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		panic(err)
	}
	return int32(n)
}
