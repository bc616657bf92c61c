package kubeproxy

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestWhichVirtualServersAreKubeProxys(t *testing.T) {
	const port = 30080
	for f, n := range testNode {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			node, vip, elsewhere := netip.MustParsePrefix(n.node).Addr(), netip.MustParseAddr(n.vip), netip.MustParseAddr(n.gateway)
			second, excludedVIP := node.Next(), vip.Next()
			addLink(t, "eth0", n.node, alone(second.String()))
			addLink(t, deviceName, alone(n.vip), alone(excludedVIP.String()))
			b, err := readBalancer(f, []netip.Prefix{netip.PrefixFrom(second, second.BitLen()), netip.PrefixFrom(excludedVIP, excludedVIP.BitLen())}, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.ports = map[service.Protocol]map[uint16]bool{service.TCP: {port: true}}
			lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
			if f == service.IPv6 {
				lo = netip.IPv6Loopback()
			}
			for _, test := range []struct {
				name     string
				protocol service.Protocol
				at       netip.Addr
				port     uint16
				want     bool
			}{
				{"at a virtual IP", service.TCP, vip, 80, true},
				{"at a node port", service.TCP, node, port, true},
				{"at a node port of the loopback address", service.TCP, lo, port, true},
				{"not at a node port's number elsewhere", service.TCP, elsewhere, port, false},
				{"not at another protocol's node port", service.UDP, node, port, false},
				{"not at another port of the node", service.TCP, node, 8443, false},
				{"not at a virtual IP in an excluded range", service.TCP, excludedVIP, 80, false},
				{"not at a node port in an excluded range", service.TCP, second, port, false},
			} {
				t.Run(test.name, func(t *testing.T) {
					if got := b.owns(test.protocol, netip.AddrPortFrom(test.at, test.port)); got != test.want {
						t.Errorf("got %v", got)
					}
				})
			}
		})
	}
}

// A virtual server that is left alone keeps the route that makes its address local, which is then no reason to begin anew.
func TestARouteForAnExcludedAddressIsNothingToRemove(t *testing.T) {
	for f, n := range testNode {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			vip := netip.MustParseAddr(n.vip)
			if err := netlink.RouteAppend(standIn(vip, nil)); err != nil {
				t.Fatal(err)
			}
			if stands, err := Standing(t.Context(), f, nil); err != nil || !stands {
				t.Errorf("it stands, but: %v, %v", stands, err)
			}
			if stands, err := Standing(t.Context(), f, []netip.Prefix{netip.PrefixFrom(vip, vip.BitLen())}); err != nil || stands {
				t.Errorf("excluded, but: %v, %v", stands, err)
			}
		})
	}
}
