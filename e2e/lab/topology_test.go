package lab

import (
	"net/netip"
	"slices"
	"testing"
)

func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

func newPod(t *testing.T, l *Lab, node *Host, name string) *Host {
	t.Helper()
	pod, err := l.Pod(node, name)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// serve makes a host serve both protocols and families on a port.
func serve(t *testing.T, h *Host, port uint16) (tcp, udp *Server) {
	t.Helper()
	tcp, err := h.ServeTCP(Wildcard(IPv6, port))
	if err != nil {
		t.Fatal(err)
	}
	udp, err = h.ServeUDP(Wildcard(IPv6, port))
	if err != nil {
		t.Fatal(err)
	}
	return tcp, udp
}

// each runs a test for each family and protocol.
func each(t *testing.T, f func(t *testing.T, family Family, network string)) {
	for _, family := range Families {
		for _, network := range []string{"tcp", "udp"} {
			t.Run(family.String()+" "+network, func(t *testing.T) { f(t, family, network) })
		}
	}
}

// checkAsk asks and checks that both addresses arrive as they were sent.
func checkAsk(t *testing.T, h *Host, network string, to netip.AddrPort, client netip.Addr, opts ...AskOption) {
	t.Helper()
	a, err := h.Ask(t.Context(), network, to, opts...)
	if err != nil {
		t.Error(err)
		return
	}
	if a.Server != to || a.Client.Addr() != client || a.Took <= 0 {
		t.Errorf("%s asks %s: got %+v, want server %s and client %s", h.Name, to, a, to, client)
	}
}

func TestPaths(t *testing.T) {
	l := newLab(t)
	server := newPod(t, l, l.Nodes[0], "server")
	same := newPod(t, l, l.Nodes[0], "same-node")
	other := newPod(t, l, l.Nodes[1], "other-node")
	serve(t, server, 80)
	serve(t, l.Outside, 80)
	serve(t, l.Nodes[0], 80)
	gateway := podAddresses(1, 1)
	for _, tc := range []struct {
		name     string
		from, to *Host
		client   Addresses
	}{
		{"pod to pod on the same node", same, server, same.Addresses},
		{"pod to pod on another node", other, server, other.Addresses},
		{"pod to itself", server, server, server.Addresses},
		{"own node to pod", l.Nodes[0], server, gateway},
		{"other node to pod", l.Nodes[1], server, l.Nodes[1].Addresses},
		{"outside to pod", l.Outside, server, l.Outside.Addresses},
		{"pod to outside", server, l.Outside, server.Addresses},
		{"outside to node", l.Outside, l.Nodes[0], l.Outside.Addresses},
		{"pod to its node", server, l.Nodes[0], server.Addresses},
		{"pod to other node", other, l.Nodes[0], other.Addresses},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, func(t *testing.T, f Family, network string) {
				checkAsk(t, tc.from, network, tc.to.AddrPort(f, 80), tc.client.Address(f))
			})
		})
	}
	t.Run("localhost in a pod", func(t *testing.T) {
		each(t, func(t *testing.T, f Family, network string) {
			to := Loopback(f, 80)
			checkAsk(t, server, network, to, to.Addr())
		})
	})
}

func TestListenAddress(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	each(t, func(t *testing.T, f Family, network string) {
		listen := pod.ServeTCP
		if network == "udp" {
			listen = pod.ServeUDP
		}
		// The wildcards of the families take different ports, so that they
		// do not get in each other's way.
		for _, addr := range []netip.AddrPort{pod.AddrPort(f, 81), Wildcard(f, uint16(82+f))} {
			s, err := listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			to := pod.AddrPort(f, s.Addr().Port())
			checkAsk(t, l.Outside, network, to, l.Outside.Address(f))
			if got := s.Counts(); s.Total() != 1 || got[to] != 1 {
				t.Errorf("%s counted %v, want 1 for %s", addr, got, to)
			}
		}
	})
}

func TestAddAddresses(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[1], "many")
	client := newPod(t, l, l.Nodes[0], "client")
	serve(t, pod, 80)
	serve(t, client, 80)
	few, err := l.AddAddresses(pod, 100)
	if err != nil {
		t.Fatal(err)
	}
	many, err := l.AddAddresses(pod, 5000)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(few, many)
	each(t, func(t *testing.T, f Family, network string) {
		seen := map[netip.Addr]bool{}
		for i, a := range all {
			seen[a.Address(f)] = true
			if i%50 == 0 || i == len(all)-1 {
				checkAsk(t, client, network, a.AddrPort(f, 80), client.Address(f))
				checkAsk(t, l.Nodes[1], network, a.AddrPort(f, 80), podAddresses(2, 1).Address(f))
				checkAsk(t, pod, network, client.AddrPort(f, 80), a.Address(f), From(a.AddrPort(f, 0)))
			}
		}
		if len(seen) != 5100 {
			t.Errorf("got %d different addresses, want 5100", len(seen))
		}
		listen := pod.ServeTCP
		if network == "udp" {
			listen = pod.ServeUDP
		}
		if _, err := listen(all[7].AddrPort(f, 81)); err != nil {
			t.Fatal(err)
		}
		checkAsk(t, client, network, all[7].AddrPort(f, 81), client.Address(f))
	})
}
