package main

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

// clusterAddress is where a Service is found from inside the cluster. The zero value stands for "nowhere".
func clusterAddress(svc *corev1.Service, f lab.Family) netip.AddrPort {
	for _, text := range svc.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Is6() == (f == lab.IPv6) {
			return netip.AddrPortFrom(addr, uint16(svc.Spec.Ports[0].Port))
		}
	}
	return netip.AddrPort{}
}

// nodePort is where a Service is found on every node.
func nodePort(svc *corev1.Service) uint16 { return uint16(svc.Spec.Ports[0].NodePort) }

// compareNode tells whether a Node has the addresses that the lab gives to the host of that name.
func compareNode(node *corev1.Node, host *lab.Host) error {
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err != nil || (addr != host.IPv4 && addr != host.IPv6) {
			return fmt.Errorf("the examples give the Node %s the address %s, but in the lab it has %s and %s: correct its status",
				node.Name, a.Address, host.IPv4, host.IPv6)
		}
	}
	return nil
}
