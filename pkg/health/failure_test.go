package health

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestOccupiedPort(t *testing.T) {
	for _, family := range families(t) {
		t.Run(family.String(), func(t *testing.T) {
			n := newNode(t, family, Options{})
			n.servers.pause = time.Hour // only Synced tries
			blocker, port := n.occupy()
			other := n.freePort()
			wanted := []service.HealthCheck{checkOf("a", port, 1), checkOf("b", other, 1)}

			err := n.sync(wanted...)
			wantText(t, err, "Service shop/a", fmt.Sprintf("port %d", port), "ss -ltnp", "address already in use")
			n.wantAnswerOf("b", other)
			if err := n.sync(wanted...); err == nil {
				t.Error("no error the second time")
			}
			if told := n.told("a"); told != 1 {
				t.Errorf("%d events, want one for the whole failure", told)
			}

			blocker.Close()
			n.mustSync(wanted...)
			n.wantAnswerOf("a", port)
			if told := n.told("b"); told != 0 {
				t.Errorf("%d events for a Service that has its port", told)
			}
		})
	}
}

func TestOccupiedPortIsTriedAgainByItself(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	var attempts atomic.Int32
	n.servers.listen = func(family service.Family, at netip.AddrPort, handler http.Handler) (*listener, error) {
		attempts.Add(1)
		return listen(family, at, handler)
	}
	blocker, port := n.occupy()
	if err := n.sync(checkOf("web", port, 1)); err == nil {
		t.Fatal("no error for an occupied port")
	}
	eventually(t, "three more attempts have failed", func() bool { return attempts.Load() > 4 })
	blocker.Close()
	eventually(t, "the Service has its port", func() bool { return n.open(port) })
	n.wantAnswerOf("web", port)
	if told := n.told("web"); told != 1 {
		t.Errorf("%d events, want one for the whole failure", told)
	}
}

func TestNobodyTriesForAServiceThatIsGone(t *testing.T) {
	for name, after := range map[string]func(port uint16) []service.HealthCheck{
		"deleted": func(uint16) []service.HealthCheck { return nil },
		"moved":   func(port uint16) []service.HealthCheck { return []service.HealthCheck{checkOf("web", port, 1)} },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, service.IPv4, Options{})
			blocker, port := n.occupy()
			if err := n.sync(checkOf("web", port, 1)); err == nil {
				t.Fatal("no error for an occupied port")
			}
			eventually(t, "the port is tried again", retrying)
			n.mustSync(after(n.freePort())...)
			eventually(t, "the port is not tried any more", func() bool { return !retrying() })
			blocker.Close()
			n.wantAnswerOf("", port)
		})
	}
}

// retrying reports whether a goroutine tries to open ports again, of whatever Servers.
func retrying() bool {
	stacks := make([]byte, 1<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("health.(*Servers).retry("))
}

func TestEachFailureIsToldOnceAndLeavesOtherAddressesAlone(t *testing.T) {
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	n := newNode(t, service.IPv4, Options{})
	web := checkOf("web", n.freePort(), 1)
	n.listenOn(netip.AddrPortFrom(two, web.Port))
	for round := 1; round <= 2; round++ {
		n.list(one, two)
		for range 3 {
			wantText(t, n.sync(web), "127.0.0.2")
			n.wantAnswerOf("web", web.Port)
		}
		if told := n.told("web"); told != round {
			t.Errorf("%d events after failure %d", told, round)
		}
		n.list(one)
		n.mustSync(web)
	}
}

func TestContestedPort(t *testing.T) {
	type checks = []service.HealthCheck
	cases := []struct {
		name   string
		steps  func(port, other uint16) []checks
		owner  string // who answers at the end
		failed string // whose failure the last step returns; "": nobody's
	}{
		{"the first by name has it", func(port, _ uint16) []checks {
			return []checks{{checkOf("a", port, 1), checkOf("b", port, 1)}}
		}, "a", "b"},
		{"the first by name has it even if it comes later", func(port, _ uint16) []checks {
			return []checks{{checkOf("b", port, 1)}, {checkOf("a", port, 1), checkOf("b", port, 1)}}
		}, "a", "b"},
		{"the other has it as soon as the first is gone", func(port, _ uint16) []checks {
			return []checks{{checkOf("a", port, 1), checkOf("b", port, 1)}, {checkOf("b", port, 1)}}
		}, "b", ""},
		{"the other has it as soon as the first has moved", func(port, other uint16) []checks {
			return []checks{{checkOf("a", port, 1), checkOf("b", port, 1)}, {checkOf("a", other, 1), checkOf("b", port, 1)}}
		}, "b", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, service.IPv4, Options{})
			port := n.freePort()
			var err error
			for _, step := range c.steps(port, n.freePort()) {
				err = n.sync(step...)
				if again := n.sync(step...); (again == nil) != (err == nil) {
					t.Errorf("first %v, then %v", err, again)
				}
			}
			n.wantAnswerOf(c.owner, port)
			if c.failed == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantText(t, err, "Service shop/"+c.failed, fmt.Sprintf("port %d", port), "taken by Service shop/"+c.owner)
			if told := n.told(c.failed); told != 1 {
				t.Errorf("%d events, want one", told)
			}
		})
	}
}

func TestAListenerThatEndsByItselfComesBack(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	port := n.freePort()
	n.mustSync(checkOf("web", port, 1))
	n.servers.mu.Lock()
	for _, c := range n.servers.checks {
		for _, l := range c.listeners {
			l.socket.Close()
		}
	}
	n.servers.mu.Unlock()
	eventually(t, "the owner is told", func() bool { return n.told("web") == 1 })
	eventually(t, "the listener is back", func() bool { return n.open(port) })
	n.wantAnswerOf("web", port)
}

func TestWithoutEventsFailuresAreOnlyReturned(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	n.servers.opts.Events = nil
	_, port := n.occupy()
	wantText(t, n.sync(checkOf("web", port, 1)), "Service shop/web")
}

// wantText fails the test unless err says each of the texts.
func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}
