package cases

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
)

// Flags are the settings that a case needs. The zero value is the usual ones: the pods' range is known, node ports answer on
// all addresses of the node and on localhost, and the node is in a zone.
type Flags struct {
	// MasqueradeAll is --masquerade-all.
	MasqueradeAll bool
	// NoPodRange leaves --cluster-cidr out.
	NoPodRange bool
	// PodInterfacePrefix is --pod-interface-name-prefix, and PodInterface --pod-bridge-interface: pods are told by these.
	PodInterfacePrefix, PodInterface string
	// NodeCIDR tells pods by the own Node's range.
	NodeCIDR bool
	// NodePortAddresses is --nodeport-addresses.
	NodePortAddresses string
	// NoLocalhostNodePorts is --iptables-localhost-nodeports=false.
	NoLocalhostNodePorts bool
	// NoZone takes the zone off the Node.
	NoZone bool
}

// Args are the flags as kube-proxy spells them. They go behind a --cluster-cidr that names the range of all pods.
func (f Flags) Args() []string {
	var args []string
	add := func(when bool, flags ...string) {
		if when {
			args = append(args, flags...)
		}
	}
	add(f.MasqueradeAll, "--masquerade-all")
	add(f.NoPodRange, "--cluster-cidr=")
	add(f.PodInterfacePrefix != "", "--cluster-cidr=", "--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix="+f.PodInterfacePrefix)
	add(f.PodInterface != "", "--cluster-cidr=", "--detect-local-mode=BridgeInterface", "--pod-bridge-interface="+f.PodInterface)
	add(f.NodeCIDR, "--cluster-cidr=", "--detect-local-mode=NodeCIDR")
	add(f.NodePortAddresses != "", "--nodeport-addresses="+f.NodePortAddresses)
	add(f.NoLocalhostNodePorts, "--iptables-localhost-nodeports=false")
	return args
}

// String names the flags for a reader.
func (f Flags) String() string {
	args := f.Args()
	if f.NoZone {
		args = append(args, "node without a zone")
	}
	if len(args) == 0 {
		return "usual flags"
	}
	return strings.Join(args, " ")
}

// Options are the flags as a service.Builder takes them.
func (f Flags) Options(family service.Family) service.Options {
	options := service.Options{Family: family, NodeName: Node1, MasqueradeAll: f.MasqueradeAll}
	switch {
	case f.PodInterfacePrefix != "":
		options.Pods.InterfacePrefix = f.PodInterfacePrefix
	case f.PodInterface != "":
		options.Pods.Interface = f.PodInterface
	case f.NodeCIDR:
		options.Pods.Sources = podRange(family, 1)
	case !f.NoPodRange:
		options.Pods.Sources = allPods(family)
	}
	return options
}

// NodePorts are the addresses on which node ports answer.
func (f Flags) NodePorts(family service.Family) (service.NodeAddresses, error) {
	var entries []string
	if f.NodePortAddresses != "" {
		entries = strings.Split(f.NodePortAddresses, ",")
	}
	selection, err := node.ParseSelection(entries)
	if err != nil {
		return service.NodeAddresses{}, fmt.Errorf("node port addresses: %w", err)
	}
	own := NodeAddresses(family)
	chosen := selection.NodeAddresses(family, own, own[:1])
	chosen.Loopback = selection.Loopback(family) && !f.NoLocalhostNodePorts
	return chosen, nil
}

// Node is the Node object of node1.
func (f Flags) Node() *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node1, Labels: map[string]string{corev1.LabelHostname: Node1}}}
	if !f.NoZone {
		n.Labels[corev1.LabelTopologyZone] = zone
	}
	for _, family := range []service.Family{service.IPv4, service.IPv6} {
		n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, podRange(family, 1).String())
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: NodeAddresses(family)[0].String()})
	}
	n.Spec.PodCIDR = n.Spec.PodCIDRs[0]
	return n
}

// OwnNode is the same as a service.Builder takes it.
func (f Flags) OwnNode() service.OwnNode {
	read := node.Read(f.Node())
	return service.OwnNode{Zone: read.Zone, Addresses: read.Addresses}
}

// allPods is the range of the pods of all nodes, and podRange that of one node's.
func allPods(family service.Family) netip.Prefix {
	return pick(family, "10.244.0.0/16", "fd00:10:244::/48", netip.MustParsePrefix)
}

func podRange(family service.Family, node int) netip.Prefix {
	return pick(family, fmt.Sprintf("10.244.%d.0/24", node), fmt.Sprintf("fd00:10:244:%d::/64", node), netip.MustParsePrefix)
}

// pick reads the text of one family.
func pick[T any](family service.Family, v4, v6 string, read func(string) T) T {
	if family == service.IPv6 {
		return read(v6)
	}
	return read(v4)
}
