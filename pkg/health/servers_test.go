package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestListenersFollowTheTable(t *testing.T) {
	type checks = []service.HealthCheck
	// p are free ports; each case has its own.
	cases := []struct {
		name          string
		before, after func(p []uint16) checks
		want          map[int]string // by index into p: the Service that answers; absent: nobody
	}{
		{"a new Service is answered",
			func([]uint16) checks { return nil },
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1)} },
			map[int]string{0: "a"}},
		{"a Service that goes takes its port along",
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1), checkOf("b", p[1], 1)} },
			func(p []uint16) checks { return checks{checkOf("b", p[1], 1)} },
			map[int]string{1: "b"}},
		{"a Service moves to another port",
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1)} },
			func(p []uint16) checks { return checks{checkOf("a", p[1], 1)} },
			map[int]string{1: "a"}},
		{"two Services exchange their ports",
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1), checkOf("b", p[1], 1)} },
			func(p []uint16) checks { return checks{checkOf("a", p[1], 1), checkOf("b", p[0], 1)} },
			map[int]string{0: "b", 1: "a"}},
		{"a Service takes over the port of one that goes",
			func(p []uint16) checks { return checks{checkOf("b", p[0], 1)} },
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1)} },
			map[int]string{0: "a"}},
		{"no Services, no listeners",
			func(p []uint16) checks { return checks{checkOf("a", p[0], 1), checkOf("b", p[1], 1)} },
			func([]uint16) checks { return nil },
			nil},
	}
	for _, family := range families(t) {
		for _, c := range cases {
			t.Run(family.String()+": "+c.name, func(t *testing.T) {
				n := newNode(t, family, Options{})
				p := []uint16{n.freePort(), n.freePort()}
				n.mustSync(c.before(p)...)
				n.mustSync(c.after(p)...)
				for i, port := range p {
					n.wantAnswerOf(c.want[i], port)
				}
			})
		}
	}
}

// wantAnswerOf fails the test unless the named Service answers on the port; "": nobody.
func (n *node) wantAnswerOf(name string, port uint16) {
	n.t.Helper()
	if name == "" {
		if n.open(port) {
			n.t.Errorf("somebody listens on port %d", port)
		}
		return
	}
	if got := n.get(port); !strings.Contains(got.body, fmt.Sprintf("%q: %q", "name", name)) {
		n.t.Errorf("port %d answers for somebody else than %s: %s", port, name, got.body)
	}
}

func TestBothFamiliesHaveTheSamePort(t *testing.T) {
	if len(families(t)) < 2 {
		t.Fatal("this machine has one family only")
	}
	everywhere := Options{Addresses: func() []netip.Addr { return nil }}
	four, six := newNode(t, service.IPv4, everywhere), newNode(t, service.IPv6, everywhere)
	port := six.freePort()
	six.mustSync(checkOf("web", port, 0))
	four.mustSync(checkOf("web", port, 3))
	if got := four.get(port); got.status != http.StatusOK {
		t.Errorf("IPv4: %d, want the count of its own endpoints", got.status)
	}
	if got := six.get(port); got.status != http.StatusServiceUnavailable {
		t.Errorf("IPv6: %d, want the count of its own endpoints", got.status)
	}
}

func TestCountChangesKeepConnections(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	port := n.freePort()
	n.mustSync(checkOf("web", port, 0))
	conn, err := net.Dial("tcp", netip.AddrPortFrom(loopback(n.family), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	for _, local := range []int{1, 0, 12} {
		n.mustSync(checkOf("web", port, local))
		if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: node\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(replies, nil)
		if err != nil {
			t.Fatalf("the connection did not last: %v", err)
		}
		if got, want := response.Header.Get("X-Load-Balancing-Endpoint-Weight"), fmt.Sprint(local); got != want {
			t.Errorf("weight %s, want %s", got, want)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
}

func TestListenersFollowTheAddresses(t *testing.T) {
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	cases := []struct {
		name          string
		before, after []netip.Addr
		want          []netip.Addr
	}{
		{"an address more", []netip.Addr{one}, []netip.Addr{one, two}, []netip.Addr{one, two}},
		{"an address less", []netip.Addr{one, two}, []netip.Addr{two}, []netip.Addr{two}},
		{"another address", []netip.Addr{one}, []netip.Addr{two}, []netip.Addr{two}},
		{"from one to all", []netip.Addr{one}, nil, []netip.Addr{one, two}},
		{"from all to one", nil, []netip.Addr{two}, []netip.Addr{two}},
		{"an address listed twice is listened on once", nil, []netip.Addr{one, one}, []netip.Addr{one}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, service.IPv4, Options{})
			port := n.freePort()
			for _, listed := range [][]netip.Addr{c.before, c.after} {
				n.list(listed...)
				n.mustSync(checkOf("web", port, 1))
			}
			want := map[netip.Addr]bool{}
			for _, address := range c.want {
				want[address] = true
			}
			for _, address := range []netip.Addr{one, two} {
				if got := isOpen(netip.AddrPortFrom(address, port)); got != want[address] {
					t.Errorf("%s: listens %v, want %v", address, got, want[address])
				}
			}
		})
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	l, err := listen(service.IPv4, netip.AddrPortFrom(loopback(service.IPv4), 0), http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for name, limit := range map[string]time.Duration{
		"header": l.server.ReadHeaderTimeout, "read": l.server.ReadTimeout, "write": l.server.WriteTimeout, "idle": l.server.IdleTimeout,
	} {
		if limit <= 0 || limit > time.Minute {
			t.Errorf("%s: limit %s", name, limit)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	n := newNode(t, service.IPv4, Options{})
	blocked, taken := n.occupy()
	ports := []uint16{n.freePort(), n.freePort()}
	wanted := []service.HealthCheck{checkOf("a", ports[0], 1), checkOf("b", ports[1], 0), checkOf("c", taken, 0)}
	if err := n.sync(wanted...); err == nil {
		t.Error("no error for an occupied port")
	}
	n.get(ports[0]) // leaves a connection open
	n.servers.Close()
	blocked.Close()
	for _, port := range append(ports, taken) {
		if n.open(port) {
			t.Errorf("somebody still listens on port %d", port)
		}
	}
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })

	n.servers.Close() // a second time does no harm
	if err := n.sync(wanted...); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Synced after Close: %v", err)
	}
	if n.open(ports[0]) {
		t.Error("Synced after Close listens")
	}
}

func TestSyncedWithoutTimeLeavesEverythingAsItIs(t *testing.T) {
	n := newNode(t, service.IPv4, Options{})
	port := n.freePort()
	n.mustSync(checkOf("web", port, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.servers.Synced(ctx, nil, &service.Table{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	n.wantAnswerOf("web", port)
}
