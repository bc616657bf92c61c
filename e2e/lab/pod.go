package lab

import (
	"fmt"
	"math/bits"
	"net/netip"
)

// placement is a node's number and what of its pod networks is in use, or a
// pod's node.
type placement struct {
	number   int // of the node, 0 if it is none
	nextPod  int // last part of the next pod's address
	nextMany int // first free address in manyNetwork
	node     *Host
}

// manySize is the number of addresses in manyNetwork.
const manySize = 1 << 14

// podNetworks are the prefixes routed to a node: that of its pods in each
// family, and the one for AddAddresses, which in IPv6 is part of the former.
// A node beyond manyNodes has none of the latter.
func podNetworks(node int) []netip.Prefix {
	networks := []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", node)),
		netip.MustParsePrefix(fmt.Sprintf("fd00:10:244:%d::/64", node)),
	}
	if node <= manyNodes {
		networks = append(networks, manyNetwork(node, IPv4))
	}
	return networks
}

// podAddresses returns an address in a node's pod network. The node has the
// first itself.
func podAddresses(node, last int) Addresses {
	return Addresses{
		IPv4: netip.MustParseAddr(fmt.Sprintf("10.244.%d.%d", node, last)),
		IPv6: netip.MustParseAddr(fmt.Sprintf("fd00:10:244:%d::%d", node, last)),
	}
}

// manyNetwork holds the addresses handed out by AddAddresses, manySize in
// either family.
func manyNetwork(node int, f Family) netip.Prefix {
	if f == IPv6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:10:244:%d:1::/114", node))
	}
	return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/18", 64*node))
}

// Pod adds a pod to a node, joined to it as the ptp CNI plugin does: by a veth
// pair whose node end has the first address of the pod network as the pod's
// gateway, and a route on the node to the pod's address alone.
func (l *Lab) Pod(node *Host, name string) (*Host, error) {
	number, last, err := l.takePodAddress(node)
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	gateway := podAddresses(number, 1)
	pod, err := l.addHost(name, podAddresses(number, last))
	if err != nil {
		return nil, err
	}
	pod.place.node = node
	if err := pod.join(node, fmt.Sprintf("veth%d", last), gateway); err != nil {
		return nil, fmt.Errorf("join pod %s to %s: %w", name, node.Name, err)
	}
	return pod, nil
}

func (l *Lab) takePodAddress(node *Host) (number, last int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &node.place
	if p.number == 0 {
		return 0, 0, fmt.Errorf("%s is no node", node.Name)
	}
	if p.nextPod > 254 {
		return 0, 0, fmt.Errorf("no address left on %s", node.Name)
	}
	p.nextPod++
	return p.number, p.nextPod - 1, nil
}

func (h *Host) join(node *Host, nodeLink string, gateway Addresses) error {
	if err := h.addVeth("eth0", node, nodeLink); err != nil {
		return err
	}
	if err := node.setUp(nodeLink, single(gateway.IPv4), single(gateway.IPv6)); err != nil {
		return err
	}
	if err := h.setUp("eth0", single(h.IPv4), single(h.IPv6)); err != nil {
		return err
	}
	for i, f := range Families {
		if err := node.addLinkRoute(h.Address(f), nodeLink); err != nil {
			return err
		}
		if err := h.addLinkRoute(gateway.Address(f), "eth0"); err != nil {
			return err
		}
		if err := h.AddRoute(defaultRoutes[i], gateway.Address(f)); err != nil {
			return err
		}
	}
	return nil
}

// AddAddresses gives a pod n more addresses of each family and returns them.
// They come from a larger network than the pods' own, which is routed to the
// node everywhere and is part of 10.244.0.0/16 and of the node's IPv6 prefix.
// The pod serves on them and connects from them, but no interface lists them.
func (l *Lab) AddAddresses(pod *Host, n int) ([]Addresses, error) {
	first, size, err := l.takeBlock(pod, n)
	if err != nil {
		return nil, fmt.Errorf("add %d addresses to %s: %w", n, pod.Name, err)
	}
	node := pod.place.node
	addrs := make([]Addresses, n)
	for i := range addrs {
		addrs[i].IPv4 = nth(manyNetwork(node.place.number, IPv4).Addr(), first+1+i)
		addrs[i].IPv6 = nth(manyNetwork(node.place.number, IPv6).Addr(), first+1+i)
	}
	for _, f := range Families {
		base := nth(manyNetwork(node.place.number, f).Addr(), first)
		block := netip.PrefixFrom(base, base.BitLen()-bits.Len(uint(size-1)))
		if err := pod.addBlock(node, block, f); err != nil {
			return nil, fmt.Errorf("add %s to %s: %w", block, pod.Name, err)
		}
	}
	return addrs, nil
}

// addBlock makes all of a block local to the pod by one route, as adding 5,000
// IPv6 addresses takes seconds, and routes it there by way of the pod's first
// address: a neighbour for each address would overflow the neighbour table,
// which has 1,024 entries that all namespaces share.
func (h *Host) addBlock(node *Host, block netip.Prefix, f Family) error {
	// IPv6 takes only an interface's addresses for local when it binds.
	if err := h.SetSysctl("ipv6/ip_nonlocal_bind", "1"); err != nil {
		return err
	}
	if err := h.AddLocal(block); err != nil {
		return err
	}
	return node.AddRoute(block, h.Address(f))
}

// takeBlock reserves an aligned block, so that one prefix covers it. Its
// first address stays unused, as it is the network address.
func (l *Lab) takeBlock(pod *Host, n int) (first, size int, err error) {
	node := pod.place.node
	if node == nil {
		return 0, 0, fmt.Errorf("%s is no pod", pod.Name)
	}
	if node.place.number > manyNodes {
		return 0, 0, fmt.Errorf("only the first %d nodes have room for such addresses, not %s", manyNodes, node.Name)
	}
	if n < 1 || n >= manySize {
		return 0, 0, fmt.Errorf("want 1 to %d addresses", manySize-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	size = 1 << bits.Len(uint(n))
	first = (node.place.nextMany + size - 1) &^ (size - 1)
	if first+size > manySize {
		return 0, 0, fmt.Errorf("%s has no room for a block of %d", node.Name, size)
	}
	node.place.nextMany = first + size
	return first, size, nil
}

// nth returns the address i after a, which must not go beyond the last two
// bytes.
func nth(a netip.Addr, i int) netip.Addr {
	b := a.AsSlice()
	n := len(b)
	v := int(b[n-2])<<8 + int(b[n-1]) + i
	b[n-2], b[n-1] = byte(v>>8), byte(v)
	next, _ := netip.AddrFromSlice(b)
	return next
}
