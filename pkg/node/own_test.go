package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNodeAddressesAreRead(t *testing.T) {
	const internal, external, name = corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName
	tests := []struct {
		name      string
		addresses []corev1.NodeAddress
		want      []netip.Addr
		primary   []netip.Addr
	}{
		{"none where there are none", nil, nil, nil},
		{
			"in their order, and the first of a family is primary",
			[]corev1.NodeAddress{{Type: internal, Address: "fd00::2"}, {Type: internal, Address: "10.0.0.2"}, {Type: internal, Address: "10.0.0.1"}, {Type: internal, Address: "fd00::1"}},
			addresses("fd00::2", "10.0.0.2", "10.0.0.1", "fd00::1"), addresses("10.0.0.2", "fd00::2"),
		},
		{
			"external ones do not count beside internal ones",
			[]corev1.NodeAddress{{Type: external, Address: "192.0.2.1"}, {Type: internal, Address: "10.0.0.1"}},
			addresses("10.0.0.1"), addresses("10.0.0.1"),
		},
		{
			"external ones count where there are no others",
			[]corev1.NodeAddress{{Type: external, Address: "192.0.2.1"}, {Type: external, Address: "192.0.2.2"}},
			addresses("192.0.2.1", "192.0.2.2"), addresses("192.0.2.1"),
		},
		{
			"and that for each family",
			[]corev1.NodeAddress{{Type: external, Address: "2001:db8::1"}, {Type: external, Address: "192.0.2.1"}, {Type: internal, Address: "10.0.0.1"}},
			addresses("10.0.0.1", "2001:db8::1"), addresses("10.0.0.1", "2001:db8::1"),
		},
		{
			"names, nonsense and loopback addresses are skipped",
			[]corev1.NodeAddress{{Type: name, Address: "10.0.0.9"}, {Type: internal, Address: "node1"}, {Type: internal}, {Type: internal, Address: "127.0.0.1"}, {Type: internal, Address: "0.0.0.0"}, {Type: internal, Address: "10.0.0.1"}},
			addresses("10.0.0.1"), addresses("10.0.0.1"),
		},
		{
			"an address mapped into IPv6 is IPv4",
			[]corev1.NodeAddress{{Type: internal, Address: "::ffff:10.0.0.1"}},
			addresses("10.0.0.1"), addresses("10.0.0.1"),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Read(&corev1.Node{Status: corev1.NodeStatus{Addresses: test.addresses}})
			if !slices.Equal(got.Addresses, test.want) {
				t.Errorf("addresses: got %v, want %v", got.Addresses, test.want)
			}
			if primary := got.Primary(); !slices.Equal(primary, test.primary) {
				t.Errorf("primary: got %v, want %v", primary, test.primary)
			}
		})
	}
}

func TestPodCIDRsAreRead(t *testing.T) {
	tests := map[string]struct {
		spec corev1.NodeSpec
		want string
	}{
		"none where there are none": {corev1.NodeSpec{}, "[]"},
		"of both families":          {corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24", "fd01::/64"}}, "[10.1.0.0/24 fd01::/64]"},
		"from the older field":      {corev1.NodeSpec{PodCIDR: "10.1.0.0/24"}, "[10.1.0.0/24]"},
		"without nonsense":          {corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0", "", "fd01::/64"}}, "[fd01::/64]"},
		"without a host part":       {corev1.NodeSpec{PodCIDRs: []string{"10.1.0.7/24"}}, "[10.1.0.0/24]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(Read(&corev1.Node{Spec: test.spec}).PodCIDRs); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestOwnNodesAreEqualIfWhatIsNeededIs(t *testing.T) {
	node := func(change func(*corev1.Node)) OwnNode {
		n := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node1", Labels: map[string]string{corev1.LabelTopologyZone: "a"}},
			Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24"}},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}},
		}
		change(n)
		return Read(n)
	}
	base := node(func(*corev1.Node) {})
	if base.Name != "node1" || base.Zone != "a" {
		t.Errorf("got %+v", base)
	}
	tests := []struct {
		name   string
		change func(*corev1.Node)
		equal  bool
	}{
		{"the same", func(*corev1.Node) {}, true},
		{"a heartbeat", func(n *corev1.Node) {
			n.ResourceVersion, n.Status.Conditions = "2", []corev1.NodeCondition{{Type: corev1.NodeReady}}
		}, true},
		{"another name", func(n *corev1.Node) { n.Name = "node2" }, false},
		{"another zone", func(n *corev1.Node) { n.Labels = nil }, false},
		{"another address", func(n *corev1.Node) { n.Status.Addresses[0].Address = "10.0.0.2" }, false},
		{"another range for pods", func(n *corev1.Node) { n.Spec.PodCIDRs = nil }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := node(test.change).Equal(base); got != test.equal {
				t.Errorf("got %v", got)
			}
		})
	}
}
