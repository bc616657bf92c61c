package ipvs

import (
	"net/netip"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

func TestAlias(t *testing.T) {
	tests := []struct{ name, of, want string }{
		{"the last 28 bits of an IPv4 address stay", "192.0.2.1:80", "240.0.2.1:80"},
		{"all of them", "175.255.255.255:65535", "255.255.255.255:65535"},
		{"an address of the range is its own alias", "250.1.2.3:1", "250.1.2.3:1"},
		{"the last 96 bits of an IPv6 address stay", "[2001:db8:1:2:3:4:5:6]:53", "[100:464c:1:2:3:4:5:6]:53"},
		{"none of the first 32", "[ffff:ffff::1]:53", "[100:464c::1]:53"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, p := range service.Protocols {
				got := alias(key{p, netip.MustParseAddrPort(test.of)})
				if want := (key{p, netip.MustParseAddrPort(test.want)}); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if r := aliasRange(service.FamilyOf(got.address.Addr())); !r.Contains(got.address.Addr()) {
					t.Errorf("%s is not in %s", got, r)
				}
			}
		})
	}
}

// twins are two addresses with one alias.
func twins(s *stage) (one, other string) {
	if s.family == service.IPv6 {
		return "2001:db8::1", "2001:db9::1"
	}
	return "192.0.2.1", "208.0.2.1"
}

// externalLocal makes a Service with an external IP, web before api.
func (s *stage) externalLocal(name, ip string) {
	svc := s.plain(name, "80")
	svc.CreationTimestamp = metav1.Unix(map[string]int64{"web": 1, "api": 2}[name], 0)
	svc.Spec.ExternalIPs = []string{ip}
	externalLocal(svc)
	s.builder.SetService(svc)
}

// insiders is whom a pod gets to at an address, by the fake's own reading.
func (s *stage) insiders(ip string) int {
	p := service.Packet{Protocol: service.TCP, Source: s.addr("here2"), Destination: netip.AddrPortFrom(netip.MustParseAddr(ip), 80), Interface: servicetest.PodInterface}
	table, _, _ := s.builder.Build()
	return len(s.kernel.judge(p, table.Pods))
}

func TestTwoAddressesWithOneAlias(t *testing.T) {
	forBoth(t, func(s *stage) {
		one, other := twins(s)
		serveWeb(s)
		s.slice("api", []string{"8080"}, "here1", "away1", "away2")
		s.externalLocal("web", one)
		s.sync()
		s.externalLocal("api", other)
		s.sync()
		if first, second := s.insiders(one), s.insiders(other); first != 2 || second != 1 {
			s.t.Errorf("pods get to %d endpoints at the first address, want 2, and to %d at the second, want the local one", first, second)
		}
		s.take()
		s.slice("api", []string{"8080"}, "here1", "away1")
		s.sync()
		if n := s.insiders(one); n != 2 {
			s.t.Errorf("a change of the second Service leaves pods %d endpoints at the first", n)
		}
		deleteService("web")(s)
		s.sync()
		if n := s.insiders(other); n != 2 {
			s.t.Errorf("when the first has gone, pods get to %d endpoints at the second", n)
		}
	})
}

func TestNobodyIsServedWhereAliasesAre(t *testing.T) {
	forBoth(t, func(s *stage) {
		one, _ := twins(s)
		at := alias(key{service.TCP, netip.AddrPortFrom(netip.MustParseAddr(one), 80)})
		serveWeb(s)
		s.slice("api", []string{"8080"}, "away1", "away2", "here2")
		svc := s.plain("api", "80")
		svc.Spec.ExternalIPs = []string{at.address.Addr().String()}
		s.builder.SetService(svc)
		s.externalLocal("web", one)
		s.sync()
		if n := s.insiders(one); n != 2 {
			s.t.Errorf("pods get to %d endpoints, want 2: those of the Service that has the alias", n)
		}
		if s.backend.wishes[at] != nil {
			s.t.Errorf("the other Service is served at %s", at)
		}
	})
}
