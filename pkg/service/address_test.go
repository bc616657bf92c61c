package service_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	. "github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// Old objects may hold addresses that the API server no longer takes. They are read as kube-proxy reads them.
func TestAddressesAreReadAsKubeProxyReadsThem(t *testing.T) {
	tests := []struct{ name, clusterIP, externalIP, endpoint, packet, want string }{
		{"leading zeros mean nothing", "010.096.0.001", "192.000.002.01", "010.244.01.01", "192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.1:8080+m"},
		{"the same for a cluster IP", "010.096.0.001", "192.000.002.01", "010.244.01.01", "10.244.2.9 > 10.96.0.1:80", "forward 10.244.1.1:8080"},
		{"an IPv4 address in IPv6 is an IPv4 address", "::ffff:10.96.0.1", "::ffff:192.0.2.1", "::ffff:10.244.1.1", "192.0.2.9 > 192.0.2.1:80", "forward 10.244.1.1:8080+m"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			slice := servicetest.Slice("web", "web-1", []string{"8080"}, test.endpoint)
			slice.AddressType = "IPv4"
			b := NewBuilder(Options{Family: IPv4, Pods: pods})
			add(b, with(servicetest.Service("web", test.clusterIP, "80"), externalIPs(test.externalIP)), slice)
			table, _, problems := b.Build()
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
			if got := route(t, table, test.packet); got != test.want {
				t.Errorf("%s: got %s, want %s", test.packet, got, test.want)
			}
		})
	}
}

func TestAnAddressWithAZoneIsNone(t *testing.T) {
	b := NewBuilder(Options{Family: IPv6})
	add(b, with(servicetest.Service("web", "fd00:10:96::1", "80"), externalIPs("2001:db8::1%eth0")))
	_, _, problems := b.Build()
	checkProblems(t, problems, []string{`Service default/web … "2001:db8::1%eth0" is not an IP address`})
}

func TestSourceRangesAreReadAsKubeProxyReadsThem(t *testing.T) {
	tests := []struct{ text, v4, v6 string }{ // as the only range; empty: everybody is admitted
		{"10.0.0.0/8", "[10.0.0.0/8]", "[]"},
		{" 010.1.2.3/08 ", "[10.0.0.0/8]", "[]"},
		{"::ffff:10.0.0.0/104", "[10.0.0.0/8]", "[]"},
		{"::ffff:10.1.2.3/128", "[10.1.2.3/32]", "[]"},
		{"::ffff:0:0/96", "", ""},
		{"::ffff:0:0/90", "[]", "[::ffc0:0:0/90]"},
		{"2001:db8::1/32", "[]", "[2001:db8::/32]"},
		{"::/0", "", ""},
	}
	for _, test := range tests {
		for family, want := range map[Family]string{IPv4: test.v4, IPv6: test.v6} {
			svc := servicetest.Service("web", "10.96.0.1", "80")
			svc.Spec.ClusterIPs = []string{"10.96.0.1", "fd00:10:96::1"}
			svc.Spec.LoadBalancerSourceRanges = []string{test.text}
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}
			b := NewBuilder(Options{Family: family})
			add(b, svc)
			table, _, problems := b.Build()
			if len(problems) > 0 {
				t.Errorf("%q: problems %v", test.text, problems)
			}
			got := ""
			if clients := table.Ports[0].Frontends[1].Clients; clients != nil {
				got = text(clients)
			}
			if got != want {
				t.Errorf("%q, %s: got %s, want %s", test.text, family, got, want)
			}
		}
	}
}

func text(ranges []netip.Prefix) string {
	list := "["
	for i, r := range ranges {
		if i > 0 {
			list += " "
		}
		list += r.String()
	}
	return list + "]"
}

func TestAnAddressOfOneServiceCountsOnce(t *testing.T) {
	svc := withAddresses(servicetest.Service("web", "10.96.0.1", "80"), 1, []string{"10.96.0.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"}, "192.0.2.1")
	b := NewBuilder(Options{Family: IPv4})
	add(b, svc)
	table, _, problems := b.Build()
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	var got []string
	for _, f := range table.Ports[0].Frontends {
		got = append(got, f.Kind.String()+" "+f.Address.String())
	}
	want := []string{"cluster IP 10.96.0.1:80", "external IP 192.0.2.2:80", "load-balancer IP 192.0.2.1:80"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frontends (-want +got):\n%s", diff)
	}
}
