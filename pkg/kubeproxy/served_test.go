package kubeproxy

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// While both run, kube-proxy's syncs take Fairlead's mark from the virtual servers that both have.
func TestVirtualServersOfFairleadAreNotKubeProxys(t *testing.T) {
	vip, node, elsewhere := netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9")
	at := netip.AddrPortFrom
	table := &service.Table{
		NodePorts: service.NodeAddresses{Listed: []netip.Addr{node}},
		Ports: []*service.Port{{
			Name: service.PortName{Protocol: service.TCP},
			Frontends: []service.Frontend{
				{Kind: service.ClusterIP, Address: at(vip, 80)},
				{Kind: service.NodePort, Address: at(netip.IPv4Unspecified(), 30080)},
			},
		}},
	}
	b := &balancer{
		virtual: map[netip.Addr]bool{vip: true},
		own:     map[netip.Addr]bool{node: true, elsewhere: true},
		ports:   map[service.Protocol]map[uint16]bool{service.TCP: {30080: true}},
	}
	inIPVSMode := false
	takeOver := NewTakeOver(Options{InIPVSMode: func() bool { return inIPVSMode }})
	takeOver.table.Store(table)
	for _, test := range []struct {
		name     string
		protocol service.Protocol
		at       netip.AddrPort
		served   bool
	}{
		{"cluster IP", service.TCP, at(vip, 80), true},
		{"another port of it", service.TCP, at(vip, 81), false},
		{"another protocol", service.UDP, at(vip, 80), false},
		{"node port", service.TCP, at(node, 30080), true},
		{"node port at an address that it does not answer on", service.TCP, at(elsewhere, 30080), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, inIPVSMode = range []bool{false, true} {
				b.served = takeOver.served
				if got, want := b.owns(test.protocol, test.at), !inIPVSMode || !test.served; got != want {
					t.Errorf("Fairlead in IPVS mode: %v; kube-proxy's: %v, want %v", inIPVSMode, got, want)
				}
			}
		})
	}
}
