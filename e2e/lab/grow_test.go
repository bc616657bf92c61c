package lab

import (
	"net/netip"
	"testing"
)

func TestALabGrows(t *testing.T) {
	l, err := New(Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	first := newPod(t, l, l.Nodes[0], "first")
	for range 3 {
		if _, err := l.AddNode(); err != nil {
			t.Fatal(err)
		}
	}
	fourth := newPod(t, l, l.Nodes[3], "fourth")
	serve(t, fourth, 80)
	serve(t, first, 80)
	t.Run("pods reach each other on nodes old and new", func(t *testing.T) {
		for _, f := range Families {
			mustReach(t, first, fourth.AddrPort(f, 80))
			mustReach(t, fourth, first.AddrPort(f, 80))
			mustReach(t, l.Outside, fourth.AddrPort(f, 80))
		}
	})
	t.Run("beyond the third there is no room for many addresses", func(t *testing.T) {
		if _, err := l.AddAddresses(fourth, 10); err == nil {
			t.Error("they are there")
		}
	})
	t.Run("a host answers for a whole range", func(t *testing.T) {
		all, err := l.AddHost("pods", 200)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, all, 80)
		for f, block := range map[Family]string{IPv4: "10.248.0.0/13", IPv6: "fd00:10:248::/48"} {
			prefix := netip.MustParsePrefix(block)
			if err := all.AddLocal(prefix); err != nil {
				t.Fatal(err)
			}
			if err := l.Nodes[3].AddRoute(prefix, all.Address(f)); err != nil {
				t.Fatal(err)
			}
			to := netip.AddrPortFrom(nth(prefix.Addr(), 4711), 80)
			if answer := mustReach(t, fourth, to); answer.Server != to {
				t.Errorf("%s answers for %s", answer.Server, to)
			}
		}
	})
}

func mustReach(t *testing.T, from *Host, to netip.AddrPort) Answer {
	t.Helper()
	answer, err := from.Ask(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
