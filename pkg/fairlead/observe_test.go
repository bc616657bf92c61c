package fairlead

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

func logContext(ctx context.Context, logger logr.Logger) context.Context {
	return klog.NewContext(ctx, logger)
}

// recorded records events.
type recorded []string

func (e *recorded) Node(reason, message string) { *e = append(*e, reason+": "+message) }

func (e *recorded) Service(name types.NamespacedName, reason, message string) {
	*e = append(*e, fmt.Sprint(name, " ", reason, ": ", message))
}

func TestEventsForOperators(t *testing.T) {
	failed := func(o proxier.Observer, inARow int) {
		o.Failed(proxier.Failure{Task: proxier.TaskSync, Err: errors.New("the lock is held"), InARow: inARow})
	}
	tests := []struct {
		name string
		do   func(proxier.Observer)
		want []string // what the events have in them
	}{
		{"a failure or two are not", func(o proxier.Observer) { failed(o, 1); failed(o, 2) }, nil},
		{"a third in a row is, and what follows it is the same", func(o proxier.Observer) {
			for n := range 10 {
				failed(o, n+1)
			}
		}, []string{"SyncFailed: IPv4: the rules could not be written 3 times in a row; those in place stay: the lock is held"}},
		{"failures that go on for long are repeated", func(o proxier.Observer) {
			failed(o, 3)
			time.Sleep(eventPause)
			failed(o, 12)
		}, []string{"3 times", "12 times"}},
		{"failures of other tasks are not", func(o proxier.Observer) {
			o.Failed(proxier.Failure{Task: proxier.TaskFollow, Err: errors.New("no"), InARow: 7})
		}, nil},
		{"repaired drift is, with its count and the first few", func(o proxier.Observer) {
			o.Repaired([]string{"a", "b", "c", "d", "e"})
		}, []string{"DriftRepaired: IPv4: another program had changed 5 parts of the rules, which have been put right: a; b; c, and more"}},
		{"drift again and again is summed up", func(o proxier.Observer) {
			for range 12 {
				o.Repaired([]string{"a"})
				time.Sleep(eventPause / 10)
			}
		}, []string{"changed 1 parts", "changed 10 parts"}},
		{"long texts are cut", func(o proxier.Observer) {
			o.Repaired([]string{strings.Repeat("é", 3000)})
		}, []string{"…"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events recorded
				m := newMonitor(config.Default(), []service.Family{service.IPv4})
				m.setEvents(&events, func(string, string) {})
				test.do(m.observer(service.IPv4))
				if !slices.EqualFunc([]string(events), test.want, strings.Contains) {
					t.Errorf("got %q, want %q", events, test.want)
				}
				for _, e := range events {
					if len(e) > 1024 {
						t.Errorf("%d bytes", len(e))
					}
				}
			})
		})
	}
}

func TestReadinessOfAFamilyThatCannotSync(t *testing.T) {
	tests := []struct {
		name string
		is   proxier.Failure
		want int
	}{
		{"that has no Services", proxier.Failure{InARow: 7, Needless: true}, http.StatusOK},
		{"that has some", proxier.Failure{InARow: 7}, http.StatusServiceUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var events recorded
			m := newMonitor(config.Default(), []service.Family{service.IPv4, service.IPv6})
			m.setEvents(&events, func(string, string) {})
			m.observer(service.IPv4).Synced(proxier.Sync{})
			test.is.Task, test.is.Err = proxier.TaskSync, errors.New("table 'nat' does not exist")
			m.observer(service.IPv6).Failed(test.is)
			answer := httptest.NewRecorder()
			m.health.ServeReadyz(answer, nil)
			if answer.Code != test.want {
				t.Errorf("status %d, want %d", answer.Code, test.want)
			}
			if sent := len(events) > 0; sent == test.is.Needless {
				t.Errorf("events: %q", events)
			}
		})
	}
}

func TestASwitchIsAnEvent(t *testing.T) {
	var events, embedder recorded
	m := newMonitor(config.Default(), []service.Family{service.IPv4})
	m.setEvents(&events, embedder.Node)
	m.switched(service.IPv4, "iptables", "ipvs", errors.New("no such module"))
	m.switched(service.IPv4, "iptables", "ipvs", nil)
	want := []string{"SwitchFailed: IPv4: cannot switch from iptables mode to ipvs mode", "ModeSwitched: IPv4: switched from iptables mode to ipvs mode"}
	for _, got := range []recorded{events, embedder} {
		if !slices.EqualFunc([]string(got), want, strings.HasPrefix) {
			t.Errorf("got %q", got)
		}
	}
	w := httptest.NewRecorder()
	m.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`fairlead_mode{mode="ipvs"} 1`, `fairlead_mode_switches_total{result="done",to="ipvs"} 1`, `fairlead_events_total{reason="SwitchFailed"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestOwnersOfServicesAreToldByEvents(t *testing.T) {
	var events recorded
	m := newMonitor(config.Default(), []service.Family{service.IPv4})
	m.setEvents(&events, func(string, string) {})
	settings, err := config.Default().Settings()
	if err != nil {
		t.Fatal(err)
	}
	l := &line{family: service.IPv4, events: m.events}
	options := l.proxierOptions(settings, l.mode(settings), m)
	options.Events(types.NamespacedName{Namespace: "default", Name: "web"}, "ServicePortNotWritten", "default/web/tcp: "+strings.Repeat("no", 1000))
	if len(events) != 1 || !strings.HasPrefix(events[0], "default/web ServicePortNotWritten: default/web/tcp: nono") {
		t.Fatalf("events: %q", events)
	}
	if n := len(events[0]); n > 1024 {
		t.Errorf("the event has %d bytes, the API server takes 1024", n)
	}
}
