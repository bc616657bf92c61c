package ipvs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestATypeOfSetThatTheKernelLacksDisablesOnlyWhatNeedsIt(t *testing.T) {
	for _, test := range []struct {
		kind      setKind
		id        setID
		unwritten bool
		module    string
	}{
		{ofClients, setAdmitted, true, "ip_set_hash_ipportnet"},
		{ofPairs, setHairpin, false, ""},
		{ofPorts, setHealth, false, ""},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.noTypes = []setKind{test.kind}
				s.service("web", http)
				s.slice("web", []string{"8080"}, "here1", "away1")
				s.service("api", []string{"81"}, balancer(s, "office"))
				s.slice("api", []string{"9090"}, "away2")
				table, dirty, _ := s.builder.Build()
				wantUnwritten := func() {
					t.Helper()
					err := s.backend.Sync(t.Context(), table, dirty)
					unwritten, ok := errors.AsType[service.Unwritten](err)
					if ok != test.unwritten || err != nil && !ok {
						t.Fatalf("got %v", err)
					}
					if ok && (len(unwritten) != 1 || !strings.Contains(err.Error(), test.module) || !strings.Contains(err.Error(), "default/api")) {
						t.Errorf("got %v", err)
					}
				}
				wantUnwritten()
				if !s.kernel.has(setVirtual, s.key("web,tcp:80")) || s.kernel.has(setVirtual, s.key("lb,tcp:81")) != !test.unwritten {
					t.Errorf("the kernel holds:\n%s", strings.Join(s.state(), "\n"))
				}
				empty := newStage(t, s.family).backend.options
				if name, rules := definition(s.family, test.id).name, rendered(t, empty, &service.Table{Family: s.family}, true, test.kind); strings.Contains(rules, name+" ") {
					t.Errorf("rules name %s:\n%s", name, rules)
				}
				if found := s.verify(); found != nil {
					t.Errorf("drift: %v", found)
				}
				dirty = service.PortSet{{Namespace: "default", Name: "api", Protocol: service.TCP}: {}}
				wantUnwritten()
				// The module is loaded.
				s.kernel.noTypes = nil
				s.kernel.clock = s.kernel.clock.Add(time.Minute)
				must(t, s.backend.Sync(t.Context(), table, dirty))
				want := newFake(s.family)
				must(t, newBackend(s.options, want.kernel()).Sync(t.Context(), table, nil))
				if got, want := strings.Join(s.kernel.state(), "\n"), strings.Join(want.state(), "\n"); got != want {
					t.Errorf("once the module is loaded, the kernel holds\n%s\nwant\n%s", got, want)
				}
				if n := strings.Count(strings.Join(s.kernel.take(), "\n"), "rules replaced"); n != 2 {
					t.Errorf("rules have been written %d times, want once without the set and once with it", n)
				}
			})
		})
	}
}

func TestWithoutSetsOfFrontendsNothingIsServed(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.noTypes = []setKind{ofFrontends}
		serveWeb(s)
		err := s.resyncError()
		if _, ok := errors.AsType[service.Unwritten](err); ok || !errors.Is(err, errNoType) {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhoeverIsRestrictedStaysSoWithoutTheType: a rule that cannot ask who is admitted admits nobody.
func TestWhoeverIsRestrictedStaysSoWithoutTheType(t *testing.T) {
	rules := rendered(t, Options{Family: service.IPv4, MasqueradeBit: 14, MarkBit: 15}, &service.Table{Family: service.IPv4}, true, ofClients)
	const all = "-m conntrack --ctstate NEW -m set --match-set FLV4-RANGED dst,dst -j DROP\n"
	if n := strings.Count(rules, all); n != 2 {
		t.Errorf("%d rules drop what is restricted, want 2:\n%s", n, rules)
	}
}
