package lab

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
)

// A host of another program's namespace talks from there, and leaves it as it is when it is closed.
func TestEnter(t *testing.T) {
	l := newLab(t)
	pod, err := l.Pod(l.Nodes[0], "pod")
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Nodes[1].ServeTCP(Wildcard(IPv4, 0))
	if err != nil {
		t.Fatal(err)
	}
	sleep, err := pod.StartProcess("sleep", []string{"60"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	entered, err := l.Enter("entered", fmt.Sprintf("/proc/%d/ns/net", sleep.Pid()), pod.Addresses)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(l.Nodes[1].IPv4, server.Addr().Port())
	answer, err := entered.Ask(context.Background(), "tcp", to)
	if err != nil || answer.Client.Addr() != pod.IPv4 {
		t.Errorf("asks from %s, %v, want %s", answer.Client, err, pod.IPv4)
	}
	// Both take source ports of the same namespace.
	if next := pod.nextPort(); next != answer.Client.Port()+1 {
		t.Errorf("the pod takes port %d after port %d", next, answer.Client.Port())
	}
	if err := entered.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pod.Ask(context.Background(), "tcp", to); err != nil {
		t.Errorf("the pod asks after another host of its namespace was closed: %v", err)
	}
}

func TestEnterWithoutANamespace(t *testing.T) {
	l := newLab(t)
	for _, path := range []string{"/none", "/proc/self/status"} {
		if host, err := l.Enter("none", path, Addresses{}); err == nil {
			t.Errorf("%s is taken for the namespace of %s", path, host.Name)
		}
	}
}
