package lab

import (
	"context"
	"net/netip"
	"testing"
)

// Questions take source ports one after the other.
func TestSourcePorts(t *testing.T) {
	l := newLab(t)
	server := newPod(t, l, l.Nodes[0], "server")
	client := newPod(t, l, l.Nodes[1], "client")
	serve(t, server, 80)
	each(t, func(t *testing.T, f Family, network string) {
		ask := func(want uint16, opts ...AskOption) {
			t.Helper()
			a, err := client.Ask(t.Context(), network, server.AddrPort(f, 80), opts...)
			if err != nil {
				t.Fatal(err)
			}
			if a.Client != client.AddrPort(f, want) {
				t.Errorf("got client %s, want source port %d", a.Client, want)
			}
		}
		client.takeNext(lastSourcePort - 1)
		ask(lastSourcePort - 1)
		ask(lastSourcePort)
		ask(firstSourcePort)
		ask(firstSourcePort+1, From(client.AddrPort(f, 0)))
		ask(40000, From(client.AddrPort(f, 40000)), Reset())
		ask(firstSourcePort + 2)
	})
}

// takeNext makes a port the next one that the host takes.
func (h *Host) takeNext(port uint16) { h.ports.asked.Store(uint32(port - firstSourcePort)) }

func TestATakenSourcePortIsPassedOver(t *testing.T) {
	const port = 20000
	l := newLab(t)
	server := newPod(t, l, l.Nodes[0], "server")
	serve(t, server, 80)
	for _, tc := range []struct {
		name string
		// take makes the first ports, from port on, unusable.
		take    func(t *testing.T, client *Host, network string, to netip.AddrPort)
		network string
		taken   uint16
	}{
		{"TCP port with a listener", listenOn(port), "tcp", 1},
		{"UDP port with a listener", listenOn(port), "udp", 1},
		{"two TCP ports with listeners", listenOn(port, port+1), "tcp", 2},
		{"port of a connection to the same server", func(t *testing.T, client *Host, _ string, to netip.AddrPort) {
			client.takeNext(port)
			c, err := client.Connect(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}, "tcp", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, f := range Families {
				client, to := newPod(t, l, l.Nodes[1], "client"), server.AddrPort(f, 80)
				tc.take(t, client, tc.network, to)
				client.takeNext(port)
				a, err := client.Ask(t.Context(), tc.network, to)
				if err != nil {
					t.Fatal(err)
				}
				if want := port + tc.taken; a.Client.Port() != want {
					t.Errorf("%s: got source port %d, want %d", f, a.Client.Port(), want)
				}
			}
		})
	}
}

func listenOn(ports ...uint16) func(*testing.T, *Host, string, netip.AddrPort) {
	return func(t *testing.T, client *Host, _ string, _ netip.AddrPort) {
		t.Helper()
		for _, port := range ports {
			serve(t, client, port)
		}
	}
}

// AskMany takes each port once, even if questions overlap.
func TestAskManyTakesEachSourcePortOnce(t *testing.T) {
	l := newLab(t)
	pod := newPod(t, l, l.Nodes[0], "pod")
	client := newPod(t, l, l.Nodes[1], "client")
	serve(t, pod, 80)
	const n = 100
	client.takeNext(firstSourcePort)
	if _, err := client.AskMany(context.Background(), "tcp", pod.AddrPort(IPv4, 80), n, 16); err != nil {
		t.Fatal(err)
	}
	a, err := client.Ask(t.Context(), "tcp", pod.AddrPort(IPv4, 80))
	if err != nil || a.Client.Port() != firstSourcePort+n {
		t.Errorf("got %+v and %v after %d questions, want source port %d", a, err, n, firstSourcePort+n)
	}
}

// A question never comes upon the port of a connection that stands, nor does another such connection.
func TestStandingPortsAreApart(t *testing.T) {
	l := newLab(t)
	client := newPod(t, l, l.Nodes[0], "client")
	taken := map[uint16]bool{}
	for range lastStandingPort - firstStandingPort + 1 {
		port := client.StandingPort()
		if taken[port] || port < firstStandingPort {
			t.Fatalf("%d is taken again, or is below %d", port, firstStandingPort)
		}
		taken[port] = true
	}
	for range lastSourcePort - firstSourcePort + 1 {
		if port := client.nextPort(); taken[port] || port < firstSourcePort || port > lastSourcePort {
			t.Fatalf("a question takes port %d", port)
		}
	}
}
