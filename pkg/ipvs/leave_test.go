package ipvs

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

// remember gives IPVS a connection to a frontend, such as "web,tcp:80".
func (s *stage) remember(frontend, state string, remaining time.Duration) {
	s.kernel.conns = append(s.kernel.conns, connection{key: s.key(frontend), state: state, remaining: remaining})
}

// TestWhatIsLeftOfAModeThatIsLeft counts what would be missed if IPVS went, on a node with TCP and UDP frontends.
func TestWhatIsLeftOfAModeThatIsLeft(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *stage)
		left int
	}{
		{"nothing without a connection", func(*stage) {}, 0},
		{"a TCP connection with data", func(s *stage) { s.remember("web,tcp:80", "ESTABLISHED", 10*time.Minute) }, 1},
		{"one that says nothing for long", func(s *stage) { s.remember("web,tcp:80", "ESTABLISHED", time.Second) }, 1},
		{"one that is being opened", func(s *stage) { s.remember("web,tcp:80", "SYN_RECV", time.Minute) }, 1},
		{"one that one end has closed, as the other may go on", func(s *stage) {
			s.remember("web,tcp:80", "FIN_WAIT", time.Minute)
			s.remember("web,tcp:80", "CLOSE_WAIT", time.Minute)
		}, 2},
		{"not one that both have closed", func(s *stage) { s.remember("web,tcp:80", "TIME_WAIT", 2*time.Minute) }, 0},
		{"not one that was reset", func(s *stage) { s.remember("web,tcp:80", "CLOSE", 10*time.Second) }, 0},
		{"a UDP flow that was heard of lately", func(s *stage) { s.remember("dns,udp:53", "UDP", udpTimeout-idle) }, 1},
		{"not one that is silent for long", func(s *stage) { s.remember("dns,udp:53", "UDP", udpTimeout-idle-time.Second) }, 0},
		{"nothing of a virtual server that somebody else made", func(s *stage) {
			k := s.key("alien,tcp:80")
			s.kernel.servers[k] = &fakeServer{virtualServer: virtualServer{key: k, scheduler: "rr"}, real: map[netip.AddrPort]realServer{}}
			s.remember("alien,tcp:80", "ESTABLISHED", time.Minute)
		}, 0},
		{"not one to an alias, which connection tracking carries", func(s *stage) {
			s.kernel.conns = append(s.kernel.conns, connection{key: alias(s.key("ext,tcp:80")), state: "SYN_RECV", remaining: time.Minute})
		}, 0},
		{"nothing where there is no IPVS", func(s *stage) {
			s.remember("web,tcp:80", "ESTABLISHED", time.Minute)
			s.kernel.noIPVS = errors.New("no")
		}, 0},
		{"what a former process has left, without a Sync", func(s *stage) {
			s.remember("web,tcp:80", "ESTABLISHED", time.Minute)
			s.restart()
		}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.service("web", []string{"80"}, external(s, "ext"), externalLocal)
				s.service("dns", []string{"53/UDP"})
				s.slice("web", []string{"8080"}, "here1", "away1")
				s.slice("dns", []string{"5353/UDP"}, "away1")
				s.sync()
				s.take()
				test.do(s)
				left, err := s.backend.Drain(t.Context())
				must(t, err)
				if left != test.left {
					t.Errorf("%d are left, want %d", left, test.left)
				}
				s.wantWrites("by counting", "")
			})
		})
	}
}

func TestAModeThatIsLeftIsSyncedAsEver(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.sync()
		s.remember("web,tcp:80", "ESTABLISHED", time.Minute)
		if left, err := s.backend.Drain(t.Context()); left != 1 || err != nil {
			t.Fatalf("%d are left, error %v", left, err)
		}
		s.take()
		s.slice("web", []string{"8080"}, "here1", "away1", "away2")
		s.sync()
		s.wantWrites("an endpoint comes", "server web,tcp:80: real away2:8080 added, weight 1")
	})
}

func TestConnectionsAreReadFromTheKernel(t *testing.T) {
	text := strings.Join([]string{
		"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
		"TCP 0AF40105 9C40 0A600001 0050 0AF40101 1F90 ESTABLISHED     897",
		"UDP 0AF40105 9C41 0A600003 0035 0AF40201 14E9 UDP             298",
		"TCP 0AF40105 0000 0A600001 0050 0AF40101 1F90 NONE            100",
		"SCTP 0AF40105 9C42 0A600001 0050 0AF40101 1F90 ESTABLISHED     897",
		"TCP fd00:0010:0244:0001:0000:0000:0000:0005 9C40 fd00:0010:0096:0000:0000:0000:0000:0001 0050 fd00:0010:0244:0001:0000:0000:0000:0001 1F90 TIME_WAIT        12",
		"TCP 0AF40105 9C40 0A6000 0050 0AF40101 1F90 ESTABLISHED     897",
		"what is this",
		"",
	}, "\n")
	var got []connection
	must(t, readConnections(strings.NewReader(text), func(c connection) { got = append(got, c) }))
	pod4, pod6 := netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00:10:244:1::5")
	want := []connection{
		{key{service.TCP, netip.MustParseAddrPort("10.96.0.1:80")}, "ESTABLISHED", 897 * time.Second, pod4},
		{key{service.UDP, netip.MustParseAddrPort("10.96.0.3:53")}, "UDP", 298 * time.Second, pod4},
		{key{service.SCTP, netip.MustParseAddrPort("10.96.0.1:80")}, "ESTABLISHED", 897 * time.Second, pod4},
		{key{service.TCP, netip.MustParseAddrPort("[fd00:10:96::1]:80")}, "TIME_WAIT", 12 * time.Second, pod6},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(connection{}, key{}), cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y }),
		cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}
