package ipvs

import (
	"testing"
	"time"
)

// drainingWeb has an endpoint that is gone and still has connections.
func drainingWeb(s *stage) {
	serveWeb(s)
	s.sync()
	s.connect("web,tcp:80", "here1:8080", 3)
	s.slice("web", []string{"8080"}, "away1")
	s.sync()
	s.take()
}

func (s *stage) retire() {
	s.t.Helper()
	must(s.t, s.backend.Retire(s.t.Context()))
}

func TestDraining(t *testing.T) {
	const deleted = "server web,tcp:80: real here1:8080 deleted"
	tests := []struct {
		name  string
		do    func(s *stage) // to a stage with web draining
		wrote string
	}{
		{"as long as it has connections it stays", func(s *stage) { s.retire(); s.kernel.clock = s.kernel.clock.Add(59 * time.Second); s.retire() }, ""},
		{"without connections it goes", func(s *stage) { s.connect("web,tcp:80", "here1:8080", 0); s.retire() }, deleted},
		{"after its time it goes, whatever connections it has", func(s *stage) { s.kernel.clock = s.kernel.clock.Add(time.Minute); s.retire() }, deleted},
		{"when it is gone nothing is left to do", func(s *stage) {
			s.connect("web,tcp:80", "here1:8080", 0)
			s.retire()
			calls := s.kernel.calls
			s.retire()
			if s.kernel.calls != calls {
				s.t.Error("the kernel was asked again")
			}
		}, deleted},
		{"it comes back and has its weight again, and stays whatever time passes", func(s *stage) {
			serveWeb(s)
			s.sync()
			s.connect("web,tcp:80", "here1:8080", 0)
			s.kernel.clock = s.kernel.clock.Add(time.Hour)
			s.retire()
			s.resync()
		}, "server web,tcp:80: real here1:8080 weight 1 \n set HAIRPIN + here1"},
		{"a Sync of everything keeps it, and its time", func(s *stage) {
			s.resync()
			s.kernel.clock = s.kernel.clock.Add(time.Minute)
			s.resync()
		}, deleted},
		{"a change of its Service keeps it, and its time", func(s *stage) {
			s.kernel.clock = s.kernel.clock.Add(59 * time.Second)
			s.slice("web", []string{"8080"}, "away1", "away2")
			s.sync()
			s.kernel.clock = s.kernel.clock.Add(time.Second)
			s.retire()
		}, "server web,tcp:80: real away2:8080 added, weight 1 \n " + deleted},
		{"a restart finds it in the kernel, and its time begins anew", func(s *stage) {
			s.restart()
			s.resync()
			s.kernel.clock = s.kernel.clock.Add(59 * time.Second)
			s.retire()
			s.kernel.clock = s.kernel.clock.Add(time.Second)
			s.retire()
		}, deleted},
		{"a restart without time to drain cuts it at once", func(s *stage) {
			s.options.Drain = 0
			s.restart()
			s.resync()
		}, deleted},
		{"it stays when its Service is deleted", func(s *stage) { deleteService("web")(s); s.sync(); s.retire() }, `
			set REJECT + web,tcp:80
			set MASQ-OUTSIDE - web,tcp:80
			server web,tcp:80: real away1:8080 weight 0
			server web,tcp:80: real away1:8080 deleted`},
		{"deleted by hand, it is nobody's concern any more, even when it comes back", func(s *stage) {
			delete(s.kernel.servers[s.key("web,tcp:80")].real, s.endpoint("here1:8080"))
			s.resync()
			serveWeb(s)
			s.sync()
			s.kernel.clock = s.kernel.clock.Add(time.Hour)
			s.retire()
			s.real("web,tcp:80", "here1:8080")
		}, "server web,tcp:80: real here1:8080 added, weight 1 \n set HAIRPIN + here1"},
		{"given a weight by hand, it stays when it comes back", func(s *stage) {
			r := s.real("web,tcp:80", "here1:8080")
			r.weight, r.connections = 1, 0
			s.kernel.servers[s.key("web,tcp:80")].real[r.address] = r
			serveWeb(s)
			s.resync()
			s.kernel.clock = s.kernel.clock.Add(time.Hour)
			s.retire()
			s.real("web,tcp:80", "here1:8080")
		}, "set HAIRPIN + here1"},
		{"its virtual server deleted by hand, nothing is left to do once that is found", func(s *stage) {
			s.kernel.watch = nil
			delete(s.kernel.servers, s.key("web,tcp:80"))
			deleteService("web")(s)
			s.resync()
			s.take()
			calls := s.kernel.calls
			s.retire()
			if s.kernel.calls != calls {
				s.t.Error("the kernel was asked again")
			}
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				drainingWeb(s)
				test.do(s)
				s.wantWrites("then", test.wrote)
			})
		})
	}
}

func TestAnEndpointThatIsGoneGetsNoNewConnections(t *testing.T) {
	forBoth(t, func(s *stage) {
		drainingWeb(s)
		if r := s.real("web,tcp:80", "here1:8080"); r.weight != 0 || r.connections != 3 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestWithoutTimeToDrainAnEndpointIsCutAtOnce(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.options.Drain = 0
		s.restart()
		serveWeb(s)
		s.sync()
		s.connect("web,tcp:80", "here1:8080", 3)
		s.take()
		s.slice("web", []string{"8080"}, "away1")
		s.sync()
		s.wantWrites("without time", "server web,tcp:80: real here1:8080 deleted \n set HAIRPIN - here1")
	})
}

// TestTheLastEndpointLingers: the virtual server stays for standing connections, while new ones are refused.
func TestTheLastEndpointLingers(t *testing.T) {
	const lingering = `
		route web
		server web,tcp:80 > away1:8080 weight 0
		server web,tcp:80 rr
		set REJECT web,tcp:80
		set VIRTUAL web,tcp:80`
	linger := func(s *stage) {
		s.service("web", http)
		s.slice("web", []string{"8080"}, "away1")
		s.sync()
		s.connect("web,tcp:80", "away1:8080", 1)
		s.slice("web", nil)
		s.sync()
		s.want("with a standing connection", lingering)
	}
	tests := []struct {
		name string
		do   func(s *stage)
		want string
	}{
		{"until it has ended", func(s *stage) { s.connect("web,tcp:80", "away1:8080", 0); s.retire() }, "set REJECT web,tcp:80"},
		{"until its time is over", func(s *stage) { s.kernel.clock = s.kernel.clock.Add(time.Hour); s.retire() }, "set REJECT web,tcp:80"},
		{"over a restart", func(s *stage) { s.restart(); s.resync() }, lingering},
		{"over a restart, until it has ended", func(s *stage) {
			s.restart()
			s.resync()
			s.connect("web,tcp:80", "away1:8080", 0)
			s.retire()
		}, "set REJECT web,tcp:80"},
		{"and has its route again after somebody took it", func(s *stage) {
			s.kernel.watch = nil
			delete(s.kernel.routes, s.addr("web"))
			s.resync()
		}, lingering},
		{"and its entry again after somebody took it", func(s *stage) {
			clear(s.kernel.sets[definition(s.family, setVirtual).name].entries)
			s.resync()
		}, lingering},
		{"until there is an endpoint again", func(s *stage) { s.slice("web", []string{"8080"}, "away2"); s.sync() }, `
			route web
			server web,tcp:80 > away1:8080 weight 0
			server web,tcp:80 > away2:8080 weight 1
			server web,tcp:80 rr
			set MASQ-OUTSIDE web,tcp:80
			set VIRTUAL web,tcp:80`},
		{"when its Service is deleted too", func(s *stage) { deleteService("web")(s); s.sync() }, lingering},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				linger(s)
				test.do(s)
				s.want("then", test.want)
			})
		})
	}
}

// TestUDPFlows: the end of a flow cannot be seen, so that only an endpoint that says it still serves keeps those that it has.
func TestUDPFlows(t *testing.T) {
	ports := []string{"5353/UDP"}
	tests := []struct {
		name  string
		do    func(s *stage)
		wrote string
	}{
		{"an endpoint that is gone is deleted at once", func(s *stage) { s.slice("dns", ports, "away1"); s.sync() },
			"server dns,udp:53: real away2:5353 deleted"},
		{"one that terminates and serves keeps its flows", func(s *stage) { s.slice("dns", ports, "away1", "away2 !ready terminating"); s.sync() },
			"server dns,udp:53: real away2:5353 weight 0"},
		{"until it does not serve any more", func(s *stage) {
			s.slice("dns", ports, "away1", "away2 !ready terminating")
			s.sync()
			s.slice("dns", ports, "away1", "away2 !ready !serving terminating")
			s.sync()
		}, "server dns,udp:53: real away2:5353 weight 0 \n server dns,udp:53: real away2:5353 deleted"},
		{"or its time is over", func(s *stage) {
			s.slice("dns", ports, "away1", "away2 !ready terminating")
			s.sync()
			s.kernel.clock = s.kernel.clock.Add(time.Hour)
			s.retire()
		}, "server dns,udp:53: real away2:5353 weight 0 \n server dns,udp:53: real away2:5353 deleted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.service("dns", dns)
				s.slice("dns", ports, "away1", "away2")
				s.sync()
				s.connect("dns,udp:53", "away2:5353", 5)
				s.take()
				test.do(s)
				s.wantWrites("then", test.wrote)
			})
		})
	}
}

func TestNothingDrainsWhereIPVSSeesTheFirstPacketOnly(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("web", http, external(s, "ext"), externalLocal)
		s.sync()
		for _, r := range s.kernel.servers[alias(s.key("ext,tcp:80"))].real {
			r.connections = 1
			s.kernel.servers[alias(s.key("ext,tcp:80"))].real[r.address] = r
		}
		s.slice("web", []string{"8080"}, "here1")
		s.sync()
		if n := len(s.kernel.servers[alias(s.key("ext,tcp:80"))].real); n != 1 {
			t.Errorf("%d real servers are left for pods", n)
		}
	})
}
