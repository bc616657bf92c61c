package cases

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// The nodes of the cluster.
const (
	Node1 = "node1"
	Node2 = "node2"
)

// zone is where node1 is.
const zone = "here"

// NodeAddresses are those of node1: its own, then the one that it has on its pods' network.
func NodeAddresses(family service.Family) []netip.Addr {
	return []netip.Addr{
		pick(family, "172.30.0.11", "fd00:30::11", netip.MustParseAddr),
		pick(family, "10.244.1.1", "fd00:10:244:1::1", netip.MustParseAddr),
	}
}

// VirtualRanges hold all addresses of Services in all cases.
func VirtualRanges(family service.Family) []netip.Prefix {
	if family == service.IPv6 {
		return []netip.Prefix{netip.MustParsePrefix("fd00:10:96::/64"), netip.MustParsePrefix("2001:db8:e::/64"), netip.MustParsePrefix("2001:db8:b::/64")}
	}
	return []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("198.18.0.0/16"), netip.MustParsePrefix("198.19.0.0/16")}
}

// virtual lists the names of virtual addresses, by the range that they are in.
var virtual = [][]string{{"web", "api", "db"}, {"ext1", "ext2"}, {"lb1", "lb2"}}

// PodsOf lists the pods of a node by name, in the order in which they get their addresses. The last one is not an endpoint:
// the crowd has many addresses to ask from, and the many answer on the addresses m1 to m40.
func PodsOf(node string) []string {
	if node == Node1 {
		return []string{"a", "b", "pod", "crowd"}
	}
	return []string{"c", "d", "far", "many"}
}

// firstPod is the last part of the address of a node's first pod.
const firstPod = 2

// Crowd is how many addresses the crowd has, and the many.
const Crowd = 40

// CrowdAddress is the i-th address of the crowd or the many, which are on node 1 and 2.
func CrowdAddress(family service.Family, node, i int) netip.Addr {
	return pick(family, fmt.Sprintf("10.244.%d.%d", 64*node, i+1), fmt.Sprintf("fd00:10:244:%d:1::%x", node, i+1), netip.MustParseAddr)
}

// atlas knows the addresses behind the names of one case in one family.
type atlas struct {
	number int // of the case
	// family is that of the addresses, and tried the one in which the case is tried: a Service may have addresses of both.
	family, tried service.Family
}

// address is the address that a name stands for.
func (a atlas) address(name string) (netip.Addr, error) {
	for i, names := range virtual {
		if at := slices.Index(names, name); at >= 0 {
			return a.virtual(VirtualRanges(a.family)[i], at+1), nil
		}
	}
	if addr, node := a.pod(name); node != "" {
		return addr, nil
	}
	switch name {
	case "node":
		return NodeAddresses(a.family)[0], nil
	case "gateway":
		return NodeAddresses(a.family)[1], nil
	case "node2":
		return pick(a.family, "172.30.0.12", "fd00:30::12", netip.MustParseAddr), nil
	case "outside":
		return pick(a.family, "172.30.0.100", "fd00:30::100", netip.MustParseAddr), nil
	case "localhost":
		return pick(a.family, "127.0.0.1", "::1", netip.MustParseAddr), nil
	}
	return netip.Addr{}, fmt.Errorf("%q is no name of an address", name)
}

// virtual is the n-th address of the case in a range. A case has sixteen of each, eight for each family that it is tried in.
func (a atlas) virtual(in netip.Prefix, n int) netip.Addr {
	n += 16 * a.number
	if a.tried == service.IPv6 {
		n += 8
	}
	raw := in.Addr().AsSlice()
	binary.BigEndian.PutUint16(raw[len(raw)-2:], uint16(n))
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// pod returns the address of a pod and its node, which is empty if there is no such pod.
func (a atlas) pod(name string) (addr netip.Addr, node string) {
	for i, node := range []string{Node1, Node2} {
		if at := slices.Index(PodsOf(node), name); at >= 0 {
			last := firstPod + at
			return pick(a.family, fmt.Sprintf("10.244.%d.%d", i+1, last), fmt.Sprintf("fd00:10:244:%d::%d", i+1, last), netip.MustParseAddr), node
		}
	}
	if digits, many := strings.CutPrefix(name, "m"); many {
		if n, err := strconv.Atoi(digits); err == nil && n >= 1 && n <= Crowd {
			return CrowdAddress(a.family, 2, n-1), Node2
		}
	}
	return netip.Addr{}, ""
}

// rangeOf is the range of addresses that a name stands for in spec.loadBalancerSourceRanges.
func (a atlas) rangeOf(name string) (netip.Prefix, bool) {
	switch name {
	case "everybody":
		return pick(a.family, "0.0.0.0/0", "::/0", netip.MustParsePrefix), true
	case "backbone": // holds the nodes and the outside client
		return pick(a.family, "172.30.0.0/24", "fd00:30::/64", netip.MustParsePrefix), true
	case "elsewhere":
		return pick(a.family, "203.0.113.0/24", "2001:db8:203::/64", netip.MustParsePrefix), true
	case "pods":
		return allPods(a.family), true
	case "other-family":
		return pick(a.family, "fd00:30::/64", "172.30.0.0/24", netip.MustParsePrefix), true
	}
	addr, err := a.address(name)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

// The case's own ports, as the table writes them, and how many each case has.
const (
	firstOwnPort = 30000
	ownPorts     = 5
)

// port is the port that a number stands for.
func (a atlas) port(n int32) (int32, error) {
	if n < firstOwnPort {
		return n, nil
	}
	if n >= firstOwnPort+ownPorts {
		return 0, fmt.Errorf("%d is none of the case's own ports, %d to %d", n, firstOwnPort, firstOwnPort+ownPorts-1)
	}
	n += int32(2 * ownPorts * a.number)
	if a.tried == service.IPv6 {
		n += ownPorts
	}
	return n, nil
}

// interfaceOf names the interface of node1 that a client's packets come in by; empty for the node itself.
func (a atlas) interfaceOf(client string) string {
	if client == "node" {
		return ""
	}
	if at := slices.Index(PodsOf(Node1), client); at >= 0 {
		return fmt.Sprintf("veth%d", firstPod+at)
	}
	return "eth0"
}
