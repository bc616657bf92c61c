package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// verify makes one whole round, and returns what was found, by name.
func (s *stage) verify() []string {
	s.t.Helper()
	var found []string
	for {
		drift, err := s.backend.Verify(s.t.Context())
		must(s.t, err)
		for _, d := range drift {
			found = append(found, s.named(d))
		}
		if len(s.backend.round) == 0 {
			return found
		}
	}
}

func (s *stage) set(id setID) map[entry]struct{} {
	return s.kernel.sets[definition(s.family, id).name].entries
}

func TestDamageIsNamedAndOnlyItIsRepaired(t *testing.T) {
	web := func(s *stage) *fakeServer { return s.kernel.servers[s.key("web,tcp:80")] }
	reweigh := func(s *stage, to uint16) {
		r := s.real("web,tcp:80", "here1:8080")
		r.weight = to
		web(s).real[r.address] = r
	}
	const otherReal = "virtual server web,tcp:80 has other real servers"
	tests := []struct {
		name   string
		damage func(s *stage)
		drift  []string
		wrote  string
	}{
		{"none", func(*stage) {}, nil, ""},
		{"a virtual server is gone", func(s *stage) { delete(s.kernel.servers, s.key("web,tcp:80")) },
			[]string{"virtual server web,tcp:80 is gone", otherReal},
			"server web,tcp:80 added \n server web,tcp:80: real here1:8080 added, weight 1 \n server web,tcp:80: real away1:8080 added, weight 1"},
		{"a virtual server has another scheduler", func(s *stage) { web(s).scheduler = "lc" },
			[]string{"virtual server web,tcp:80 has been changed"}, "server web,tcp:80 changed"},
		{"a virtual server has lost our mark", func(s *stage) { web(s).flags = 0 },
			[]string{"virtual server web,tcp:80 has been changed"}, "server web,tcp:80 changed"},
		{"a virtual server has got a timeout", func(s *stage) { web(s).flags, web(s).timeout = ownMark|flagPersistent, time.Minute },
			[]string{"virtual server web,tcp:80 has been changed"}, "server web,tcp:80 changed"},
		{"a virtual server bears our mark and is none of ours", func(s *stage) {
			k := s.key("alien,udp:99")
			s.kernel.servers[k] = &fakeServer{virtualServer: virtualServer{key: k, scheduler: "rr", flags: ownMark}}
		}, []string{"virtual server alien,udp:99 does not belong there"}, "server alien,udp:99 deleted"},
		{"a real server is gone", func(s *stage) { delete(web(s).real, s.endpoint("here1:8080")) },
			[]string{otherReal}, "server web,tcp:80: real here1:8080 added, weight 1"},
		{"a real server is somebody else's", func(s *stage) {
			web(s).real[s.endpoint("alien:1")] = realServer{address: s.endpoint("alien:1"), weight: 3}
		}, []string{otherReal}, "server web,tcp:80: real alien:1 weight 0 \n server web,tcp:80: real alien:1 deleted"},
		{"a real server has another weight", func(s *stage) { reweigh(s, 9) }, []string{otherReal}, "server web,tcp:80: real here1:8080 weight 1"},
		{"a real server has been taken out of service", func(s *stage) { reweigh(s, 0) }, []string{otherReal}, "server web,tcp:80: real here1:8080 weight 1"},
		{"a real server of the second virtual server is gone", func(s *stage) {
			delete(s.kernel.servers[alias(s.key("ext,tcp:81"))].real, s.endpoint("away2:9090"))
		}, []string{"virtual server ext~,tcp:81 has other real servers"}, "server ext~,tcp:81: real away2:9090 added, weight 1"},
		{"a frontend is not led to any more", func(s *stage) { delete(s.set(setVirtual), entry{key: s.key("web,tcp:80")}) },
			[]string{"entry of set VIRTUAL web,tcp:80 is gone"}, "set VIRTUAL + web,tcp:80"},
		{"a client is admitted by hand", func(s *stage) {
			s.set(setAdmitted)[entry{key: s.key("lb,tcp:81"), client: netip.MustParsePrefix(s.span("branch"))}] = struct{}{}
		}, []string{"entry of set ADMITTED lb,tcp:81,branch/* does not belong there"}, "set ADMITTED - lb,tcp:81,branch/*"},
		{"a frontend is refused by hand", func(s *stage) { s.set(setReject)[entry{key: s.key("web,tcp:80")}] = struct{}{} },
			[]string{"entry of set REJECT web,tcp:80 does not belong there"}, "set REJECT - web,tcp:80"},
		{"a pod may not reach itself any more", func(s *stage) { clear(s.set(setHairpin)) },
			[]string{"entry of set HAIRPIN here1 is gone"}, "set HAIRPIN + here1"},
		{"a health check port is let in by hand", func(s *stage) {
			s.set(setHealth)[entry{key: key{service.TCP, netip.AddrPortFrom(netip.Addr{}, 22)}}] = struct{}{}
		}, []string{"entry of set HEALTH 22 does not belong there"}, "set HEALTH - 22"},
		{"a set is gone", func(s *stage) { delete(s.kernel.sets, definition(s.family, setMasqOutside).name) },
			[]string{"set MASQ-OUTSIDE is gone"}, "set MASQ-OUTSIDE created \n set MASQ-OUTSIDE + web,tcp:80 \n set MASQ-OUTSIDE + api,tcp:81"},
		{"a route is gone", func(s *stage) { delete(s.kernel.routes, s.addr("web")) }, []string{"route to web is gone"}, "route web added"},
		{"a route is none of ours", func(s *stage) { s.kernel.routes[s.addr("alien")] = struct{}{} },
			[]string{"route to alien does not belong there"}, "route alien deleted"},
		{"the routing rule is gone", func(s *stage) { s.kernel.ruled = false },
			[]string{"the routing rule for packets to virtual IPs is gone"}, "rule added"},
		{"a rule is gone", func(s *stage) { s.kernel.damaged = []string{"nat FLV-OUTPUT: the rules have been changed"} },
			[]string{"nat FLV-OUTPUT: the rules have been changed"}, "rules replaced"},
		{"somebody else's virtual server and set are none", func(s *stage) {
			k := s.key("alien,udp:99")
			s.kernel.servers[k] = &fakeServer{virtualServer: virtualServer{key: k, scheduler: "rr"}}
			s.kernel.sets["FLV"] = &fakeSet{kind: ofFrontends}
		}, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				serveWeb(s)
				s.service("api", []string{"81"}, external(s, "ext"), balancer(s, "office"), externalLocal)
				s.slice("api", []string{"9090"}, "away2")
				s.sync()
				s.take()
				before := s.state()
				s.kernel.watch = nil
				test.damage(s)
				damaged := s.state()
				if diff := cmp.Diff(test.drift, s.verify()); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				s.wantWrites("by Verify", "")
				s.resync()
				s.wantWrites("to repair it", test.wrote)
				if test.drift == nil {
					before = damaged
				}
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("after the repair, the kernel holds (-want +got):\n%s", diff)
				}
				if found := s.verify(); found != nil {
					t.Errorf("after the repair, found %v", found)
				}
			})
		})
	}
}

func TestNothingIsFoundWhileTheLastSyncHasFailed(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.sync()
		s.kernel.fail = func(int) (before, after error) { return errByChance, nil }
		if s.resyncError() == nil {
			t.Fatal("no error")
		}
		if found := s.verify(); found != nil {
			t.Errorf("found %v", found)
		}
	})
}

// manyServices is more than a call of Verify comes to look at.
func manyServices(s *stage, n int) {
	for i := range n {
		name := fmt.Sprintf("service-%d", i)
		ip, pod := fmt.Sprintf("10.97.%d.%d", i/200, i%200+1), "10.244.9.1"
		if s.family == service.IPv6 {
			ip, pod = fmt.Sprintf("fd00:10:97::%x", i+1), "fd00:10:244:9::1"
		}
		s.builder.SetService(servicetest.Service(name, ip, "80"))
		s.builder.SetSlice(servicetest.Slice(name, name, []string{"8080"}, pod+"@"+servicetest.OtherNode))
	}
}

// forBothInBubble is forBoth in a synctest bubble: its clock advances only while the fake kernel sleeps.
func forBothInBubble(t *testing.T, test func(s *stage)) {
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(newStage(t, f)) })
		})
	}
}

func TestARoundOfVerifyIsSpreadOverCallsAndMissesNothing(t *testing.T) {
	forBothInBubble(t, func(s *stage) {
		s.kernel.watch = nil
		const parts = 3
		manyServices(s, parts*atOnce)
		s.sync()
		s.kernel.slow = budget/atOnce + time.Millisecond // so that a call comes to one part
		var keys []key
		for k := range s.kernel.servers {
			keys = append(keys, k)
		}
		last := slices.MaxFunc(keys, compareKeys)
		clear(s.kernel.servers[last].real)
		var found []string
		calls := 0
		for calls == 0 || len(s.backend.round) > 0 {
			start := time.Now()
			drift, err := s.backend.Verify(s.t.Context())
			must(s.t, err)
			if d, most := time.Since(start), budget+atOnce*s.kernel.slow; d > most {
				s.t.Errorf("call %d took %s, at most %s is allowed", calls, d, most)
			}
			found = append(found, drift...)
			calls++
		}
		if calls < parts {
			s.t.Errorf("%d calls for a round", calls)
		}
		if len(found) != 1 || !strings.Contains(found[0], last.String()) {
			s.t.Errorf("found %v, want %s", found, last)
		}
	})
}

func TestWhatChangesWithinARoundIsNoDrift(t *testing.T) {
	forBothInBubble(t, func(s *stage) {
		s.kernel.watch = nil
		manyServices(s, 3*atOnce)
		s.sync()
		s.kernel.slow = budget/atOnce + time.Millisecond
		_, err := s.backend.Verify(s.t.Context())
		must(s.t, err)
		if len(s.backend.round) == 0 {
			s.t.Fatal("the round was over in one call")
		}
		s.kernel.slow = 0
		for i := range 3 * atOnce {
			if i%2 == 0 {
				s.builder.DeleteService(servicetest.Namespace, fmt.Sprintf("service-%d", i))
			} else {
				s.builder.DeleteSlice(servicetest.Namespace, fmt.Sprintf("service-%d", i))
			}
		}
		serveWeb(s)
		s.sync()
		if found := s.verify(); found != nil {
			s.t.Errorf("found %v", found)
		}
	})
}
