package lab

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/tier"
)

func TestRefusedAndTimeout(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	nobody := Addresses{
		IPv4: netip.MustParseAddr("10.96.0.1"),
		IPv6: netip.MustParseAddr("fd00:10:96::1"),
	}
	each(t, func(t *testing.T, f Family, network string) {
		_, err := l.Outside.Ask(t.Context(), network, pod.AddrPort(f, 9))
		check(t, "closed port", err, ErrRefused)
		for _, h := range []*Host{l.Outside, l.Nodes[1], pod} {
			_, err = h.Ask(t.Context(), network, nobody.AddrPort(f, 80), Timeout(200*time.Millisecond))
			check(t, "unrouted from "+h.Name, err, ErrTimeout)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err = l.Outside.Ask(ctx, network, nobody.AddrPort(f, 80))
		check(t, "cancelled", err, context.Canceled)
	})
}

func check(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, e := range []error{ErrRefused, ErrTimeout, context.Canceled} {
		if errors.Is(err, e) != errors.Is(want, e) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
}

// Rejects that a router sends are refusals as well.
func TestRejected(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	for i, kind := range []int{unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT} {
		vip := backboneAddresses(1)
		vip.IPv4 = netip.AddrFrom4([4]byte{10, 96, 0, byte(i)})
		vip.IPv6 = nth(netip.MustParseAddr("fd00:10:96::"), i)
		for _, f := range Families {
			if err := l.Nodes[0].setRoute(single(vip.Address(f)), netlink.Route{Type: kind}); err != nil {
				t.Fatal(err)
			}
		}
		each(t, func(t *testing.T, f Family, network string) {
			_, err := pod.Ask(t.Context(), network, vip.AddrPort(f, 80))
			check(t, "rejected", err, ErrRefused)
		})
	}
}

// No reject may be lost to a rate limit.
func TestManyRefused(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	each(t, func(t *testing.T, f Family, network string) {
		n := tier.Count(300, 3000)
		for _, h := range []*Host{pod, l.Nodes[1]} {
			_, err := l.Outside.AskMany(t.Context(), network, h.AddrPort(f, 9), n, 16)
			check(t, h.Name, err, ErrRefused)
			want := strconv.Itoa(n) + " of " + strconv.Itoa(n) + " failed"
			if err == nil || err.Error()[:len(want)] != want {
				t.Errorf("%s: got %v, want %s", h.Name, err, want)
			}
		}
	})
}

func TestAskMany(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	tcp, udp := serve(t, pod, 80)
	each(t, func(t *testing.T, f Family, network string) {
		n := tier.Count(300, 3000)
		to := pod.AddrPort(f, 80)
		start := time.Now()
		counts, err := l.Outside.AskMany(t.Context(), network, to, n, 16)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d answers in %v", n, time.Since(start))
		if len(counts) != 1 || counts[to] != n {
			t.Errorf("got %v, want %d from %s", counts, n, to)
		}
		server := tcp
		if network == "udp" {
			server = udp
		}
		if got := server.Counts()[to]; got != n {
			t.Errorf("the server counted %d, want %d", got, n)
		}
	})
}

func TestFrom(t *testing.T) {
	l := newLab(t)
	server := newPod(t, l, l.Nodes[0], "server")
	client := newPod(t, l, l.Nodes[1], "client")
	serve(t, server, 80)
	each(t, func(t *testing.T, f Family, network string) {
		from := client.AddrPort(f, 40000)
		for range 3 {
			a, err := client.Ask(t.Context(), network, server.AddrPort(f, 80), From(from), Reset())
			if err != nil {
				t.Fatal(err)
			}
			if a.Client != from {
				t.Errorf("got client %s, want %s", a.Client, from)
			}
		}
	})
}

func TestStandingConnection(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	s, _ := serve(t, pod, 80)
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			c, err := l.Outside.Connect(t.Context(), pod.AddrPort(f, 80))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if c.Answer.Server != pod.AddrPort(f, 80) {
				t.Errorf("got server %s", c.Answer.Server)
			}
			for _, text := range []string{"one", "two", ""} {
				if err := c.Echo(t.Context(), text); err != nil {
					t.Error(err)
				}
			}
			if got := s.Counts()[c.Answer.Server]; got != 1 {
				t.Errorf("counted %d connections, want 1", got)
			}
		})
	}
	// A connection still open must not keep the server from closing.
	if _, err := l.Outside.Connect(t.Context(), pod.AddrPort(IPv4, 80)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The sockets made by Listen and DialContext serve the standard library.
func TestHTTP(t *testing.T) {
	l := newLab(t)
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			listener, err := l.Nodes[0].Listen("tcp", l.Nodes[0].AddrPort(f, 8080).String())
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.RemoteAddr)
			})}
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(func() { _ = server.Close() })

			transport := &http.Transport{DialContext: l.Outside.DialContext}
			t.Cleanup(transport.CloseIdleConnections)
			res, err := (&http.Client{Transport: transport}).Get("http://" + listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			client, err := netip.ParseAddrPort(string(body))
			if err != nil || client.Addr() != l.Outside.Address(f) {
				t.Errorf("got client %q, %v", body, err)
			}
		})
	}
}
