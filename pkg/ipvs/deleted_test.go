package ipvs

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// drainingDeleted and refusingDeleted are what the kernel may hold of a deleted Service, and recreated what it holds of a new one.
const (
	drainingDeleted = `
		route web
		server web,tcp:80 > away1:8080 weight 0
		server web,tcp:80 rr
		set REJECT web,tcp:80
		set VIRTUAL web,tcp:80`
	refusingDeleted = "set REJECT web,tcp:80"
	recreated       = `
		route web
		server web,tcp:80 > away2:8080 weight 1
		server web,tcp:80 rr
		set MASQ-OUTSIDE web,tcp:80
		set VIRTUAL web,tcp:80`
)

// What happens after the Service was deleted.

func end(s *stage) { s.connect("web,tcp:80", "away1:8080", 0); s.retire() }

func later(d time.Duration) func(s *stage) {
	return func(s *stage) { s.kernel.clock = s.kernel.clock.Add(d); s.retire() }
}

func recreate(s *stage) {
	s.service("web", http)
	s.slice("web", []string{"8080"}, "away2")
	s.sync()
}

// TestDeletedServices deletes a Service with a standing connection.
func TestDeletedServices(t *testing.T) {
	tests := []struct {
		name  string
		drain time.Duration
		do    []func(s *stage)
		want  string
	}{
		{"the connection goes on, and new ones are refused", time.Minute, nil, drainingDeleted},
		{"after the connection has ended nothing is left", time.Minute, []func(*stage){end}, ""},
		{"after the drain timeout the client is told", time.Minute, []func(*stage){later(time.Minute)}, refusingDeleted},
		{"for a limited time", time.Minute, []func(*stage){later(time.Minute), later(refuseFor)}, ""},
		{"a full sync keeps draining", time.Minute, []func(*stage){(*stage).resync}, drainingDeleted},
		{"a restart keeps draining", time.Minute, []func(*stage){(*stage).restart, (*stage).resync}, drainingDeleted},
		{"a full sync keeps telling the client", time.Minute, []func(*stage){later(time.Minute), (*stage).resync}, refusingDeleted},
		{"a full sync stops telling the client", time.Minute, []func(*stage){later(time.Minute), func(s *stage) { s.kernel.clock = s.kernel.clock.Add(refuseFor) }, (*stage).resync}, ""},
		{"without draining the client is told at once", 0, nil, refusingDeleted},
		{"after everything was removed, nobody is told any more", 0, []func(*stage){func(s *stage) { must(s.t, s.backend.Remove(s.t.Context())) }, (*stage).resync}, ""},
		{"a new Service at the address is served", 0, []func(*stage){recreate}, recreated},
		{"a new Service at the address is served, and the old connection goes on", time.Minute, []func(*stage){recreate}, recreated + "\n server web,tcp:80 > away1:8080 weight 0"},
		{"a new Service at the address is served as long as it is there", 0, []func(*stage){recreate, later(refuseFor)}, recreated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.options.Drain = test.drain
				s.restart()
				s.service("web", http)
				s.slice("web", []string{"8080"}, "away1")
				s.sync()
				s.connect("web,tcp:80", "away1:8080", 1)
				deleteService("web")(s)
				s.builder.DeleteSlice("default", "web")
				s.sync()
				for _, do := range test.do {
					do(s)
				}
				s.want("then", test.want)
			})
		})
	}
}

// TestDeletedServiceInAFullSync deletes a Service in the same Sync that reads the kernel.
func TestDeletedServiceInAFullSync(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.service("web", http)
		s.slice("web", []string{"8080"}, "away1")
		s.sync()
		s.connect("web,tcp:80", "away1:8080", 1)
		deleteService("web")(s)
		s.resync()
		s.want("then", drainingDeleted)
	})
}

// TestDeletedServiceAfterAFailure: what was there is known although the kernel could not be read, or written, in between.
func TestDeletedServiceAfterAFailure(t *testing.T) {
	for name, fail := range map[string]func(s *stage){
		"of all after the deletion": func(s *stage) {
			deleteService("web")(s)
			s.kernel.fail = func(int) (before, after error) { return errByChance, nil }
			if err := s.resyncError(); err == nil {
				s.t.Error("no error")
			}
			s.kernel.fail = nil
		},
		"of all, and the one after it": func(s *stage) {
			deleteService("web")(s)
			for nth := range 2 {
				s.kernel.fail = func(int) (before, after error) { return errByChance, nil }
				if err := s.resyncError(); err == nil {
					s.t.Errorf("no error in sync %d", nth)
				}
			}
			s.kernel.fail = nil
		},
		"of one write before the deletion": func(s *stage) {
			s.service("web", http, affinity(60))
			s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "server web,tcp:80 changed") }
			if err := s.resyncError(); err == nil {
				s.t.Error("no error")
			}
			s.kernel.refuse = nil
			deleteService("web")(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.service("dns", dns)
				s.service("web", http)
				s.slice("web", []string{"8080"}, "away1")
				s.sync()
				s.connect("web,tcp:80", "away1:8080", 1)
				fail(s)
				s.sync()
				s.want("then", drainingDeleted+"\n set REJECT dns,udp:53")
				end(s)
				s.want("in the end", "set REJECT dns,udp:53")
				if len(s.backend.users)+len(s.backend.lastWishes) > 0 {
					t.Errorf("left over: users %v, wishes %v", s.backend.users, s.backend.lastWishes)
				}
			})
		})
	}
}

// TestADeletedServiceWhoseConnectionsEndWhileItIsWritten: the last one ends between the look for standing connections and the end of draining.
func TestADeletedServiceWhoseConnectionsEndWhileItIsWritten(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.service("web", []string{"80=30080"}, func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeNodePort })
		s.slice("web", []string{"8080"}, "away1")
		s.sync()
		s.connect("node,tcp:30080", "away1:8080", 1)
		s.kernel.watch = func(write string) {
			if s.named(write) == "server node,tcp:30080: real away1:8080 weight 0" {
				s.connect("node,tcp:30080", "away1:8080", 0)
			}
		}
		deleteService("web")(s)
		s.sync()
		s.want("then", "")
	})
}

// TestAnAddressThatTheNodeHasLostIsNotDrained: its packets are for another host now.
func TestAnAddressThatTheNodeHasLostIsNotDrained(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("web", []string{"80=30080"}, func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeNodePort })
		s.sync()
		s.connect("node,tcp:30080", "away1:8080", 1)
		s.builder.SetNodePorts(service.NodeAddresses{Listed: []netip.Addr{s.addr("node2")}})
		s.resync()
		if s.kernel.servers[s.key("node,tcp:30080")] != nil {
			t.Error("the virtual server at the lost address is still there")
		}
	})
}

// TestARemovedExternalIPIsFreeOnceItsConnectionsAreCut: it may be the address of another host.
func TestARemovedExternalIPIsFreeOnceItsConnectionsAreCut(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.service("web", http, external(s, "ext"))
		s.slice("web", []string{"8080"}, "away1")
		s.sync()
		s.connect("ext,tcp:80", "away1:8080", 1)
		s.service("web", http)
		s.sync()
		if s.real("ext,tcp:80", "away1:8080").weight != 0 {
			t.Error("the virtual server takes new connections")
		}
		s.kernel.clock = s.kernel.clock.Add(time.Hour)
		s.retire()
		if s.kernel.servers[s.key("ext,tcp:80")] != nil || s.kernel.has(setReject, s.key("ext,tcp:80")) {
			t.Error("after the drain timeout, packets are still led to IPVS or refused")
		}
	})
}

// TestWhatDoesNotKeepADeletedService: only open connections do.
func TestWhatDoesNotKeepADeletedService(t *testing.T) {
	tests := []struct {
		name, server string
		make         func(s *stage)
		real         realServer
	}{
		{"a UDP flow", "dns,udp:53", func(s *stage) {
			s.service("dns", dns)
			s.slice("dns", []string{"5353/UDP"}, "away1")
		}, realServer{weight: 1, connections: 1}},
		{"a connection that is being closed", "web,tcp:80", func(s *stage) {
			s.service("web", http)
			s.slice("web", []string{"8080"}, "away1")
		}, realServer{weight: 1, connections: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				test.make(s)
				s.sync()
				for address := range s.kernel.servers[s.key(test.server)].real {
					test.real.address = address
					s.kernel.servers[s.key(test.server)].real[address] = test.real
				}
				deleteService("web")(s)
				deleteService("dns")(s)
				s.sync()
				s.want("then", "")
			})
		})
	}
}

// TestADeletedServiceWhoseVirtualServerIsGone: another program has deleted it.
func TestADeletedServiceWhoseVirtualServerIsGone(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.watch = nil
		serveWeb(s)
		s.sync()
		delete(s.kernel.servers, s.key("web,tcp:80"))
		deleteService("web")(s)
		s.sync()
		s.want("then", "")
	})
}
