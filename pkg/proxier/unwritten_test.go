package proxier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// picky is a Backend that cannot write some Services.
type picky struct {
	recorder
	refused map[string]string // the error, by the name of the Service
}

func (b *picky) Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	if err := b.recorder.Sync(ctx, table, dirty); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := service.Unwritten{}
	for _, p := range table.Ports {
		if _, named := dirty[p.Name]; dirty != nil && !named {
			continue
		}
		if why := b.refused[p.Name.Name]; why != "" {
			left[p.Name] = errors.New(why)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("write: %w", left)
	}
	return nil
}

func (b *picky) refuse(name, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[name] = why
}

// changeByHand has the next Verify find a difference.
func (b *picky) changeByHand(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drift = []string{what}
}

func (b *picky) keepConnections(left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = left
}

// take returns the calls since the last one, as text.
func (b *picky) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, c := range b.calls {
		lines = append(lines, fmt.Sprintf("%v %s %s", c.At, c.What, c.Dirty))
	}
	b.calls = nil
	return lines
}

// partialStage is a Proxier whose Backend has written Service 1 and does not write Service 2, at time 0.
type partialStage struct {
	*Proxier
	*picky
	follower *recordedFollower
	events   []string
}

func partly(t *testing.T, test func(t *testing.T, s *partialStage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &partialStage{picky: &picky{refused: map[string]string{}}, follower: &recordedFollower{}}
		s.Proxier = New(service.NewBuilder(service.Options{Family: service.IPv4}), s.picky, Options{
			Mode: "a", MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, DrainTimeout: time.Minute, Followers: []Follower{s.follower},
			Events: func(service types.NamespacedName, _, message string) {
				s.events = append(s.events, fmt.Sprintf("%s: %s", service.Name, message))
			},
		})
		s.SetService(web("1", 80))
		go s.Run(ctx)
		s.Listed()
		time.Sleep(time.Minute)
		s.take()
		s.start = time.Now()
		s.refuse("2", "no")
		s.SetService(web("2", 80))
		synctest.Wait()
		test(t, s)
	})
}

func TestServicePortsThatCannotBeWritten(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *partialStage)
		want []string
	}{
		{"are tried again alone, later each time, up to the sync period", func(*partialStage) {
			time.Sleep(2*time.Minute + time.Second)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]", "7s sync [2]", "15s sync [2]", "31s sync [2]", "1m1s sync [2]", "1m31s sync [2]", "2m1s sync [2]"}},
		{"are not tried again once they are written", func(s *partialStage) {
			time.Sleep(2 * time.Second)
			s.refuse("2", "")
			time.Sleep(time.Minute)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]"}},
		{"delay no other change, and are part of its sync", func(s *partialStage) {
			time.Sleep(20 * time.Second)
			s.SetService(web("3", 80))
			time.Sleep(10 * time.Second)
			s.SetService(web("4", 80))
			time.Sleep(2 * time.Second)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]", "7s sync [2]", "15s sync [2]", "20s sync [2 3]", "30s sync [2 4]", "31s sync [2]"}},
		{"are tried at once, and soon again, when they change", func(s *partialStage) {
			time.Sleep(20 * time.Second)
			s.SetService(web("2", 81))
			time.Sleep(2 * time.Second)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]", "7s sync [2]", "15s sync [2]", "20s sync [2]", "21s sync [2]"}},
		{"are tried soon again when there are more of them", func(s *partialStage) {
			time.Sleep(20 * time.Second)
			s.refuse("3", "no")
			s.SetService(web("3", 80))
			time.Sleep(2 * time.Second)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]", "7s sync [2]", "15s sync [2]", "20s sync [2 3]", "21s sync [2 3]"}},
		{"are gone with their Service", func(s *partialStage) {
			time.Sleep(2 * time.Second)
			s.DeleteService("default", "2")
			time.Sleep(time.Minute)
		}, []string{"0s sync [2]", "1s sync [2]", "2s sync [2]"}},
		{"are part of a sync of everything after drift", func(s *partialStage) {
			time.Sleep(2 * time.Second)
			s.changeByHand("the chain is gone")
			time.Sleep(29 * time.Second)
		}, []string{"0s sync [2]", "1s sync [2]", "3s sync [2]", "7s sync [2]", "15s sync [2]", "30s verify drift", "30s sync all", "31s sync [2]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			partly(t, func(t *testing.T, s *partialStage) {
				test.do(s)
				synctest.Wait()
				if diff := cmp.Diff(test.want, s.take()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				if !s.Healthy() {
					t.Error("not healthy")
				}
			})
		})
	}
}

func TestAServicePortThatCannotBeWrittenIsNoReasonToBeUnhealthy(t *testing.T) {
	partly(t, func(t *testing.T, s *partialStage) {
		for range 100 {
			time.Sleep(3 * time.Second)
			if !s.Healthy() {
				t.Fatal("not healthy")
			}
		}
	})
}

func TestTheOwnerOfAServiceThatCannotBeWrittenIsToldOncePerError(t *testing.T) {
	partly(t, func(t *testing.T, s *partialStage) {
		time.Sleep(time.Minute)
		s.refuse("2", "never")
		time.Sleep(time.Minute)
		s.refuse("2", "no")
		time.Sleep(time.Minute)
		s.refuse("2", "")
		time.Sleep(time.Minute)
		s.refuse("2", "no")
		s.SetService(web("2", 81))
		synctest.Wait()
		var got []string
		for _, e := range s.events {
			got = append(got, e[:1]+e[strings.LastIndex(e, ":"):])
		}
		if diff := cmp.Diff([]string{"2: no", "2: never", "2: no"}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s\n%q", diff, s.events)
		}
	})
}

func TestErrorsThatNeverRepeatDoNotFillTheMemory(t *testing.T) {
	var u unwritten
	calls := 0
	for n := range 1000 {
		u.note(service.Unwritten{{Name: "web"}: fmt.Errorf("error %d", n)}, time.Minute)
		u.tell(func(service.PortName, error) { calls++ })
	}
	if calls != mostMessages {
		t.Errorf("told %d times, want %d", calls, mostMessages)
	}
	u.note(nil, time.Minute)
	u.tell(func(service.PortName, error) {})
	if len(u.told) != 0 {
		t.Errorf("%d Services are remembered after all is written", len(u.told))
	}
}

// TestFollowersAreToldWhatIsWritten: connection tracking must not take rules for changed that are not, and miss it when they are.
func TestFollowersAreToldWhatIsWritten(t *testing.T) {
	partly(t, func(t *testing.T, s *partialStage) {
		s.refuse("1", "no")
		s.SetService(web("1", 81))
		time.Sleep(1500 * time.Millisecond)
		s.refuse("1", "")
		s.refuse("2", "")
		time.Sleep(5 * time.Second)
		s.follower.mu.Lock()
		defer s.follower.mu.Unlock()
		var got []string
		for i, table := range s.follower.is {
			if i > 0 && s.follower.was[i] != s.follower.is[i-1] {
				t.Errorf("call %d begins with another Table than the one before ended with", i)
			}
			var ports []string
			for _, p := range table.Ports {
				ports = append(ports, fmt.Sprintf("%s:%d", p.Name.Name, p.Frontends[0].Address.Port()))
			}
			got = append(got, strings.Join(ports, " "))
		}
		if want := []string{"1:80", "1:80", "1:80", "1:81 2:80"}; !slices.Equal(want, got) {
			t.Errorf("told of %q, want %q", got, want)
		}
	})
}

func TestASwitchToAModeThatCannotWriteEveryServicePort(t *testing.T) {
	tests := []struct {
		name    string
		refused []string
		mode    string
		want    []string
	}{
		{"is made if it writes the others", []string{"2"}, "b", []string{"0s sync all", "0s sync [2]", "1s sync [2]"}},
		{"is not made if it writes none", []string{"1", "2"}, "a", []string{"0s sync all", "1s sync all"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			partly(t, func(t *testing.T, s *partialStage) {
				s.refuse("2", "")
				time.Sleep(time.Minute)
				b := &picky{recorder: recorder{start: time.Now()}, refused: map[string]string{}}
				for _, name := range test.refused {
					b.refuse(name, "no")
				}
				s.SetMode(Mode{Name: "b", Backend: b, MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if is := s.Mode(); is != test.mode {
					t.Errorf("the mode is %s, want %s", is, test.mode)
				}
				if diff := cmp.Diff(test.want, b.take()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				if told := len(s.events) == 2; told != (test.mode == "b") {
					t.Errorf("events: %q", s.events)
				}
			})
		})
	}
}

func TestAFormerModeThatCannotWriteEveryServicePortIsKeptInStep(t *testing.T) {
	partly(t, func(t *testing.T, s *partialStage) {
		time.Sleep(16 * time.Second)
		s.take()
		s.keepConnections(1)
		b := &recorder{start: time.Now()}
		s.SetMode(Mode{Name: "b", Backend: b, MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second})
		time.Sleep(time.Second)
		s.SetService(web("3", 80))
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"17s sync [2 3]"}, s.take()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if len(s.events) != 1 {
			t.Errorf("the owner is told of a mode that is not in force: %q", s.events)
		}
	})
}

// TestAFirstSyncThatWritesNoServicePortHasFailed: what has served until now must not be removed for it.
func TestAFirstSyncThatWritesNoServicePortHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		former := &recorder{start: time.Now()}
		b := &picky{recorder: recorder{start: time.Now()}, refused: map[string]string{"1": "no", "2": "no"}}
		follower := &recordedFollower{}
		p := New(service.NewBuilder(service.Options{Family: service.IPv4}), b, Options{
			Mode: "b", MinSyncPeriod: time.Second, SyncPeriod: 30 * time.Second, DrainTimeout: time.Minute,
			Former: []Mode{{Name: "a", Backend: former, SyncPeriod: 30 * time.Second}}, Followers: []Follower{follower},
		})
		p.SetService(web("1", 80))
		p.SetService(web("2", 80))
		go p.Run(ctx)
		p.Listed()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if p.Healthy() || len(follower.is) > 0 || len(former.calls) > 0 {
			t.Errorf("healthy %t, %d calls of followers, calls of the former mode: %v", p.Healthy(), len(follower.is), former.calls)
		}
		b.refuse("1", "")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if !p.Healthy() || len(follower.is) == 0 {
			t.Errorf("one is written: healthy %t, %d calls of followers", p.Healthy(), len(follower.is))
		}
	})
}

func TestLoadBalancersAreToldOfServicesThatAreNotWritten(t *testing.T) {
	port := func(name, port string) *service.Port {
		return &service.Port{Name: service.PortName{Namespace: "default", Name: name, Port: port}}
	}
	check := func(name string, endpoints int) service.HealthCheck {
		return service.HealthCheck{Service: types.NamespacedName{Namespace: "default", Name: name}, LocalEndpoints: endpoints}
	}
	is := &service.Table{
		Ports:        []*service.Port{port("a", "1"), port("a", "2"), port("b", "1"), port("c", "1"), port("d", "1")},
		HealthChecks: []service.HealthCheck{check("a", 1), check("b", 2), check("c", 3), check("d", 4)},
	}
	was := &service.Table{Ports: []*service.Port{port("c", "1")}}
	u := unwritten{ports: service.Unwritten{is.Ports[1].Name: nil, is.Ports[2].Name: nil, is.Ports[3].Name: nil}}
	for name := range u.ports {
		u.ports[name] = errors.New("no")
	}
	want := []service.HealthCheck{check("a", 1), check("b", 0), check("c", 3), check("d", 4)}
	if diff := cmp.Diff(want, u.held(was, is).HealthChecks); diff != "" {
		t.Errorf("a is written in part, b never was, c was before, d is (-want +got):\n%s", diff)
	}
}
