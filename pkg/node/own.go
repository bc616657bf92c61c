package node

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// OwnNode is what is needed of the Node object of this node.
type OwnNode struct {
	Name string
	Zone string // empty where the node has none
	// Addresses are in the order of the Node object: the internal ones, then the external ones of a family that has no
	// internal one.
	Addresses []netip.Addr
	// PodCIDRs are the ranges that this node's pods get their addresses from. The network plugin may ignore them.
	PodCIDRs []netip.Prefix
}

// Read takes from a Node object what is needed. Entries that are no addresses of a host, or no ranges, are skipped.
func Read(node *corev1.Node) OwnNode {
	return OwnNode{
		Name:      node.Name,
		Zone:      node.Labels[corev1.LabelTopologyZone],
		Addresses: readAddresses(node),
		PodCIDRs:  readPodCIDRs(node),
	}
}

func readAddresses(node *corev1.Node) []netip.Addr {
	addrs := addressesOf(node, corev1.NodeInternalIP)
	internal := slices.Clone(addrs)
	for _, addr := range addressesOf(node, corev1.NodeExternalIP) {
		if _, found := first(internal, service.FamilyOf(addr)); !found {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func addressesOf(node *corev1.Node, kind corev1.NodeAddressType) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		addr, err := netip.ParseAddr(a.Address)
		addr = addr.Unmap().WithZone("")
		if a.Type == kind && err == nil && addr.IsGlobalUnicast() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func readPodCIDRs(node *corev1.Node) []netip.Prefix {
	texts := node.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{node.Spec.PodCIDR} // the older field
	}
	var ranges []netip.Prefix
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			ranges = append(ranges, prefix.Masked())
		}
	}
	return ranges
}

// first returns the first address of a family.
func first(addrs []netip.Addr, family service.Family) (netip.Addr, bool) {
	i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return service.FamilyOf(a) == family })
	if i < 0 {
		return netip.Addr{}, false
	}
	return addrs[i], true
}

// Primary returns the first address of each family that the node has one of, IPv4 first.
func (n OwnNode) Primary() []netip.Addr {
	var addrs []netip.Addr
	for _, family := range []service.Family{service.IPv4, service.IPv6} {
		if addr, found := first(n.Addresses, family); found {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Equal reports whether two Node objects meant the same.
func (n OwnNode) Equal(o OwnNode) bool {
	return n.Name == o.Name && n.Zone == o.Zone &&
		slices.Equal(n.Addresses, o.Addresses) && slices.Equal(n.PodCIDRs, o.PodCIDRs)
}
