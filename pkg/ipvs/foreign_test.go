package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// put makes a virtual server by hand.
func (s *stage) put(text string, flags uint32, endpoints ...string) {
	k := s.key(text)
	held := &fakeServer{virtualServer: virtualServer{key: k, scheduler: "wlc", flags: flags}, real: map[netip.AddrPort]realServer{}}
	for _, e := range endpoints {
		held.real[s.endpoint(e)] = realServer{address: s.endpoint(e), weight: 3}
	}
	s.kernel.servers[k] = held
}

func TestWhatIsSomebodyElses(t *testing.T) {
	const foreign = `
		server alien,tcp:80 wlc of somebody else
		server alien,tcp:80 > away2:9 weight 3`
	tests := []struct {
		name string
		is   func(s *stage) // before the first Sync
		want string         // beside what there always is
		left string         // after Remove
	}{
		{"a virtual server without our mark stays as it is", func(s *stage) { s.put("alien,tcp:80", 0, "away2:9") }, foreign, foreign},
		{"one at another port of an address of ours too", func(s *stage) { s.put("web,tcp:81", flagPersistent, "away2:9") }, `
			server web,tcp:81 wlc of somebody else flags 0x1
			server web,tcp:81 > away2:9 weight 3`, `
			server web,tcp:81 wlc of somebody else flags 0x1
			server web,tcp:81 > away2:9 weight 3`},
		{"one where a Service needs one is taken over", func(s *stage) { s.put("web,tcp:80", 0, "away1:8080", "away2:9") }, "", ""},
		{"one of an earlier Fairlead goes", func(s *stage) { s.put("alien,tcp:80", ownMark, "away2:9") }, "", ""},
		{"unless its address is excluded", func(s *stage) {
			s.put("alien,tcp:80", ownMark, "away2:9")
			s.options.Excluded = []netip.Prefix{netip.MustParsePrefix(s.span("branch"))}
			s.restart()
		}, "server alien,tcp:80 wlc \n server alien,tcp:80 > away2:9 weight 3", "server alien,tcp:80 wlc \n server alien,tcp:80 > away2:9 weight 3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				test.is(s)
				serveWeb(s)
				s.sync()
				s.want("after a Sync", cluster+"\n"+test.want)
				if found := s.verify(); found != nil {
					t.Errorf("found %v", found)
				}
				s.take()
				s.resync()
				s.wantWrites("once more", "")
				s.kernel.watch = nil
				must(t, s.backend.Remove(t.Context()))
				s.want("after Remove", test.left)
			})
		})
	}
}

// TestSomebodyElsesVirtualServerWhereADeletedServiceWas: its clients are not those of the Service, and it is left alone.
func TestSomebodyElsesVirtualServerWhereADeletedServiceWas(t *testing.T) {
	serve := func(s *stage) {
		s.service("web", http)
		s.slice("web", []string{"8080"}, "away1")
	}
	for name, do := range map[string]func(s *stage){
		"whose clients are refused": func(s *stage) {
			s.options.Drain = 0
			s.restart()
			serve(s)
			s.sync()
			s.connect("web,tcp:80", "away1:8080", 1)
			deleteService("web")(s)
			s.sync()
			s.want("after the deletion", refusingDeleted)
			s.put("web,tcp:80", 0, "away2:9")
		},
		"which could not take it over": func(s *stage) {
			s.put("web,tcp:80", 0, "away2:9")
			s.service("dns", dns)
			serve(s)
			s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "server web,tcp:80") }
			if err := s.resyncError(); err == nil {
				s.t.Error("it has been taken over")
			}
			s.kernel.refuse = nil
			deleteService("web")(s)
			deleteService("dns")(s)
			s.sync()
		},
	} {
		t.Run(name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				do(s)
				for range 2 {
					if found := s.verify(); found != nil {
						t.Errorf("drift: %v", found)
					}
					s.resync()
					s.want("then", "server web,tcp:80 wlc of somebody else\n server web,tcp:80 > away2:9 weight 3")
				}
			})
		})
	}
}

func TestSomebodyElsesVirtualServerIsTakenOverOnlyForEndpoints(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.put("web,tcp:80", 0, "away2:9")
		s.service("web", http)
		s.sync()
		s.want("without endpoints", "server web,tcp:80 wlc of somebody else\n server web,tcp:80 > away2:9 weight 3\n set REJECT web,tcp:80")
		if found := s.verify(); found != nil {
			t.Errorf("drift: %v", found)
		}
		serveWeb(s)
		s.sync()
		s.want("with endpoints", cluster)
	})
}

func TestWhatIsTakenOverDrains(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.put("web,tcp:80", 0, "away1:8080", "away2:9")
		s.connect("web,tcp:80", "away2:9", 1)
		serveWeb(s)
		s.sync()
		s.want("with a standing connection", cluster+"\n server web,tcp:80 > away2:9 weight 0")
		s.kernel.clock = s.kernel.clock.Add(time.Hour)
		s.retire()
		s.want("in the end", cluster)
	})
}

// full is a node that has something of everything.
func full(s *stage) {
	serveWeb(s)
	s.service("api", []string{"81=30081"}, external(s, "ext"), balancer(s, "office"), externalLocal)
	s.slice("api", []string{"9090"}, "away2")
	s.service("dns", dns)
	s.sync()
	s.take()
	s.kernel.watch = nil
}

// wantNothing wants a kernel without anything of ours.
func (s *stage) wantNothing() {
	s.t.Helper()
	s.want("after Remove", "")
	if s.kernel.ruled || s.kernel.chains != nil || len(s.kernel.sets) > 0 {
		s.t.Errorf("there is a routing rule %t, there are rules %t and sets %v", s.kernel.ruled, s.kernel.chains != nil, s.kernel.sets)
	}
}

// noSets are those of a kernel without ipset. Nobody may ask for anything but their names.
type noSets struct{ sets }

func (noSets) Names() ([]string, error) { return nil, fmt.Errorf("%w (no such file)", errNoSets) }

func TestRemove(t *testing.T) {
	tests := []struct {
		name   string
		remove func(s *stage) error
	}{
		{"by the process that wrote it", func(s *stage) error { return s.backend.Remove(s.t.Context()) }},
		{"by another one", func(s *stage) error { s.restart(); return s.backend.Remove(s.t.Context()) }},
		{"where nothing is left, once more", func(s *stage) error {
			must(s.t, s.backend.Remove(s.t.Context()))
			return s.backend.Remove(s.t.Context())
		}},
		{"a set of a later Fairlead goes too", func(s *stage) error {
			s.kernel.sets[setPrefix(s.family)+"NEW"] = &fakeSet{kind: ofPorts}
			return s.backend.Remove(s.t.Context())
		}},
		{"where IPVS has been unloaded, without loading it again", func(s *stage) error {
			s.kernel.noIPVS = ErrNoIPVS
			clear(s.kernel.servers)
			calls := s.kernel.kernel()
			calls.servers = nil // nobody may ask
			return newBackend(s.options, calls).Remove(s.t.Context())
		}},
		{"on a kernel without ipset, which has none to destroy", func(s *stage) error {
			clear(s.kernel.sets)
			calls := s.kernel.kernel()
			calls.sets = noSets{}
			return newBackend(s.options, calls).Remove(s.t.Context())
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				full(s)
				must(t, test.remove(s))
				s.wantNothing()
			})
		})
	}
}

func TestRemoveGoesOnAfterAFailure(t *testing.T) {
	forBoth(t, func(s *stage) {
		full(s)
		for nth, calls := 1, 1; calls >= nth-1; nth++ {
			calls = 0
			s.kernel.fail = func(int) (before, after error) {
				if calls++; calls == nth {
					return errByChance, nil
				}
				return nil, nil
			}
			if err := s.backend.Remove(s.t.Context()); err != nil && !strings.Contains(err.Error(), errByChance.Error()) && nth > 1 {
				s.t.Errorf("call %d: %v", nth, err)
			}
		}
		s.wantNothing()
	})
}

func TestWhatNewConnectionsStillComeToStays(t *testing.T) {
	forBoth(t, func(s *stage) {
		full(s)
		before := len(s.kernel.servers)
		s.kernel.fail = func(int) (before, after error) { return errByChance, nil }
		if err := s.backend.Remove(s.t.Context()); err == nil {
			s.t.Error("no error")
		}
		s.kernel.fail = nil
		if n := len(s.kernel.servers); n != before {
			s.t.Errorf("%d of %d virtual servers are left, though the rules that lead to them stand", n, before)
		}
	})
}

func TestAfterRemoveASyncWritesAllAgain(t *testing.T) {
	forBoth(t, func(s *stage) {
		full(s)
		before := s.state()
		must(s.t, s.backend.Remove(s.t.Context()))
		s.sync()
		if diff := cmp.Diff(before, s.state()); diff != "" {
			s.t.Errorf("the kernel holds (-before +after):\n%s", diff)
		}
	})
}

func TestASetOfAnotherKindIsNamed(t *testing.T) {
	forBoth(t, func(s *stage) {
		name := definition(s.family, setVirtual).name
		s.kernel.sets[name] = &fakeSet{kind: ofPorts}
		if err := s.resyncError(); !errors.Is(err, errWrongKind) || !strings.Contains(err.Error(), name) {
			s.t.Errorf("got %v", err)
		}
	})
}

// webPort is the service port of serveWeb.
var webPort = service.PortName{Namespace: servicetest.Namespace, Name: "web", Protocol: service.TCP}

// TestWhatCannotBeWrittenStaysAsItIs: above all after a restart, when nothing is known but what the kernel holds.
func TestWhatCannotBeWrittenStaysAsItIs(t *testing.T) {
	const serves = "here1:8080+m away1:8080+m"
	ranged := func(s *stage) { s.service("web", http, balancer(s, "office")) }
	tests := []struct {
		name              string
		is, change        func(s *stage)
		refused           string // writes that begin so
		from, to, becomes string // a client, a frontend, and what becomes of it
	}{
		{"a real server that cannot be added leaves the others serving", serveWeb, func(s *stage) { s.slice("web", []string{"8080"}, "here1", "away1", "away2") },
			"server web,tcp:80: real away2", "office", "web,tcp:80", serves},
		{"a virtual server that cannot be changed goes on as it was", serveWeb, func(s *stage) { s.service("web", http, affinity(60)) },
			"server web,tcp:80 changed", "office", "web,tcp:80", serves},
		{"where clients cannot be admitted, nobody is let in", serveWeb, ranged, "set ADMITTED +", "branch", "lb,tcp:80", "pass"},
		{"where others cannot be shut out, nobody is let in", serveWeb, ranged, "set RANGED +", "branch", "lb,tcp:80", "pass"},
		{"where there is no route, nobody is led", serveWeb, func(s *stage) { s.service("web", http, balancer(s)) }, "route lb", "office", "lb,tcp:80", "pass"},
		{"where nobody can be led, a refusal stands", func(s *stage) { s.service("web", http) }, serveWeb, "set VIRTUAL +", "office", "web,tcp:80", "reject"},
		{"where packets are led still, the virtual server stays", serveWeb, deleteService("web"), "set VIRTUAL -", "office", "web,tcp:80", serves},
		{"where packets are led still, others stay shut out", func(s *stage) { serveWeb(s); ranged(s) }, deleteService("web"), "set VIRTUAL -", "branch", "lb,tcp:80", "drop"},
	}
	for _, test := range tests {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after a restart: %t", test.name, restarted), func(t *testing.T) {
				forBoth(t, func(s *stage) {
					s.service("dns", dns)
					s.service("api", []string{"81"}) // or nothing at all could be written
					test.is(s)
					s.sync()
					if restarted {
						s.restart()
					}
					test.change(s)
					deleteService("dns")(s) // something else, that can be written
					s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), test.refused) }
					table, dirty, _ := s.builder.Build()
					err := s.backend.Sync(t.Context(), table, dirty)
					if known := table.Port(webPort) != nil; errors.Is(err, errByChance) != known {
						t.Errorf("got %v; the Service is known: %t", err, known)
					}
					if unwritten, ok := errors.AsType[service.Unwritten](err); err != nil && (!ok || len(unwritten) != 1 || unwritten[webPort] == nil) {
						t.Errorf("unwritten: %v", err)
					}
					if got := s.goes(test.from, test.to); got != test.becomes {
						t.Errorf("%s to %s: %s, want %s", test.from, test.to, got, test.becomes)
					}
					if s.kernel.has(setReject, s.key("dns,udp:53")) {
						t.Error("something else has not been written")
					}
					s.kernel.refuse = nil
					s.resync()
					want := newFake(s.family)
					must(t, newBackend(s.options, want.kernel()).Sync(t.Context(), table, nil))
					if diff := cmp.Diff(want.state(), s.kernel.state()); diff != "" {
						t.Errorf("in the end the kernel holds (-fresh +this):\n%s", diff)
					}
				})
			})
		}
	}
}

// goes is what becomes of a client's packet to a frontend, by name.
func (s *stage) goes(client, frontend string) string {
	k := s.key(frontend)
	table, _, _ := s.builder.Build()
	p := service.Packet{Protocol: k.protocol, Source: s.addr(client), Destination: k.address, Interface: "eth0"}
	return strings.NewReplacer("[", "", "]", "").Replace(s.named(strings.Join(s.kernel.judge(p, table.Pods), " ")))
}
