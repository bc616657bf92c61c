package service_test

import (
	"net/netip"
	"testing"

	. "github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

func TestClaimsOfTheControlPlaneGoFirst(t *testing.T) {
	claim := func(kind Kind, created int64, name string) Claim {
		return Claim{kind, created, PortName{Namespace: "default", Name: name, Protocol: TCP}}
	}
	tests := []struct {
		name        string
		first, then Claim
	}{
		{"a cluster IP before an older load-balancer IP", claim(ClusterIP, 2, "b"), claim(LoadBalancerIP, 1, "a")},
		{"a cluster IP before an older external IP", claim(ClusterIP, 2, "b"), claim(ExternalIP, 1, "a")},
		{"a load-balancer IP before an older external IP", claim(LoadBalancerIP, 2, "b"), claim(ExternalIP, 1, "a")},
		{"the older of two external IPs", claim(ExternalIP, 1, "b"), claim(ExternalIP, 2, "a")},
		{"the older of two load-balancer IPs", claim(LoadBalancerIP, 1, "b"), claim(LoadBalancerIP, 2, "a")},
		{"the older of two node ports", claim(NodePort, 1, "b"), claim(NodePort, 2, "a")},
		{"the first name where both are of the same age", claim(ExternalIP, 1, "a"), claim(ExternalIP, 1, "b")},
		{"an external IP and a load-balancer IP of one Service", claim(LoadBalancerIP, 1, "a"), claim(ExternalIP, 1, "a")},
	}
	for _, test := range tests {
		if test.first.Compare(test.then) >= 0 || test.then.Compare(test.first) <= 0 {
			t.Errorf("%s: does not go first", test.name)
		}
		if same := test.first; test.first.Compare(same) != 0 {
			t.Errorf("%s: not equal to itself", test.name)
		}
	}
}

func TestALoadBalancersAddressCannotBeTakenByAnExternalIP(t *testing.T) {
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	shop := withAddresses(servicetest.Service("shop", "10.96.0.2", "443"), 2000, nil, "203.0.113.5")
	add(b, shop, servicetest.Slice("shop", "shop-1", []string{"8443"}, "10.244.1.1"),
		withAddresses(servicetest.Service("old", "10.96.0.1", "443"), 1000, nil), servicetest.Slice("old", "old-1", []string{"8443"}, "10.244.6.6"))
	b.Build()
	b.SetService(withAddresses(servicetest.Service("old", "10.96.0.1", "443"), 1000, []string{"203.0.113.5"}))
	table, _, _ := b.Build()
	if got, want := route(t, table, "198.51.100.1 > 203.0.113.5:443"), "forward 10.244.1.1:8443+m"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnExternalIPThatCoversANodePortIsReported(t *testing.T) {
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	b.SetNode(OwnNode{Addresses: []netip.Addr{netip.MustParseAddr("172.30.0.11")}})
	b.SetService(servicetest.Service("shop", "10.96.0.1", "80=30443"))
	thief := func(ips ...string) {
		b.SetService(withAddresses(servicetest.Service("thief", "10.96.0.2", "30443"), 1, ips))
	}
	both := []string{
		"Service default/shop … node port 30443/tcp does not answer on an address of the node, which Service default/thief has as its external IP",
		"Service default/thief … external IP 172.30.0.11:30443/tcp is an address of the node, and goes before the node port of Service default/shop there",
	}
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"a node port alone", func() {}, nil},
		{"an external IP elsewhere", func() { thief("192.0.2.1") }, nil},
		{"one that is the node's", func() { thief("172.30.0.11") }, both},
		{"it goes", func() { thief() }, nil},
		{"and comes back", func() { thief("172.30.0.11") }, both},
		{"the node port goes", func() { b.SetService(servicetest.Service("shop", "10.96.0.1", "80")) }, nil},
		{"the node port comes back", func() { b.SetService(servicetest.Service("shop", "10.96.0.1", "80=30443")) }, both},
		{"the node gets another address", func() { b.SetNode(OwnNode{Addresses: []netip.Addr{netip.MustParseAddr("172.30.0.12")}}) }, nil},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			_, _, problems := b.Build()
			checkProblems(t, problems, step.want)
		})
	}
}

func TestNoExternalIPTakesTheAPIServersAddress(t *testing.T) {
	b := NewBuilder(Options{Family: IPv4, Pods: pods, APIServer: netip.MustParseAddrPort("192.0.2.10:6443")})
	thief := withAddresses(servicetest.Service("thief", "10.96.0.1", "api:6443", "udp:6443/UDP", "http:80"), 1, []string{"192.0.2.10"})
	add(b, thief, servicetest.Slice("thief", "thief-1", []string{"api:1", "udp:1/UDP", "http:1"}, "10.244.6.6"))
	table, _, problems := b.Build()
	checkProblems(t, problems, []string{"Service default/thief … external IP 192.0.2.10:6443/tcp is the address by which this node reaches the API server, and is not served"})
	for packet, want := range map[string]string{
		"10.244.2.9 > 192.0.2.10:6443":     "pass",
		"10.244.2.9 > 192.0.2.10:6443/udp": "forward 10.244.6.6:1+m",
		"10.244.2.9 > 192.0.2.10:80":       "forward 10.244.6.6:1+m",
		"10.244.2.9 > 10.96.0.1:6443":      "forward 10.244.6.6:1",
	} {
		if got := route(t, table, packet); got != want {
			t.Errorf("%s: got %s, want %s", packet, got, want)
		}
	}
	b.SetService(withAddresses(servicetest.Service("lb", "10.96.0.2", "6443"), 2, nil, "192.0.2.10"))
	table, _, _ = b.Build()
	if got, want := route(t, table, "10.244.2.9 > 192.0.2.10:6443"), "reject"; got != want {
		t.Errorf("a load-balancer IP: got %s, want %s", got, want)
	}
}
