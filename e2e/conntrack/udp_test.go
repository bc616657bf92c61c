package conntrack

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/service"
)

// TestASocketFollowsTheEndpoints keeps one socket to a virtual IP and one to a node port while endpoints change.
func TestASocketFollowsTheEndpoints(t *testing.T) {
	onEach(t, conntrack.Options{}, func(t *testing.T, n *node) {
		a, b := n.pod("a"), n.pod("b")
		dns := func(pods ...*lab.Host) *service.Port { return n.udp("dns", n.vip(10, 53), 30053, pods...) }
		n.serve(dns(a))
		clients := []*client{n.client(n.pod("client"), n.vip(10, 53)), n.client(n.Outside, n.nodePort(30053)), n.client(n.Nodes[0], n.vip(10, 53))}
		reach := func(when string, pod *lab.Host) {
			t.Helper()
			for _, c := range clients {
				c.reaches(when, pod)
			}
		}
		reach("at first", a)
		n.serve(dns(a, b))
		reach("another endpoint has come", a)
		n.serve(dns(b))
		reach("the endpoint was replaced", b)
		n.serve(dns())
		for _, c := range clients {
			c.isRefused("the last endpoint is gone")
		}
		n.serve(dns(a))
		reach("there is one again", a)
		n.serve()
		for _, c := range clients {
			c.failsFor("the Service is gone", 2)
		}
		n.serve(dns(b))
		reach("the Service is back with another endpoint", b)
	})
}

// TestASocketFollowsTheFrontends moves a virtual IP to another Service, and a node port.
func TestASocketFollowsTheFrontends(t *testing.T) {
	onEach(t, conntrack.Options{}, func(_ *testing.T, n *node) {
		a, b := n.pod("a"), n.pod("b")
		n.serve(n.udp("old", n.vip(10, 53), 30053, a), n.udp("new", n.vip(11, 53), 30054, b))
		pod, outside := n.client(n.pod("client"), n.vip(10, 53)), n.client(n.Outside, n.nodePort(30053))
		pod.reaches("at first", a)
		outside.reaches("at first", a)
		n.serve(n.udp("new", n.vip(10, 53), 30053, b))
		pod.reaches("the virtual IP is another Service's", b)
		outside.reaches("the node port is another Service's", b)
	})
}

// TestASocketThatWasTooEarly asks again and again before the rules stand, as every pod does at boot.
func TestASocketThatWasTooEarly(t *testing.T) {
	onEach(t, conntrack.Options{}, func(_ *testing.T, n *node) {
		a := n.pod("a")
		clients := []*client{n.client(n.pod("client"), n.vip(10, 53)), n.client(n.Outside, n.nodePort(30053)), n.client(n.Nodes[0], n.vip(10, 53))}
		n.areTooEarly(clients...)
		n.serve(n.udp("dns", n.vip(10, 53), 30053, a))
		for _, c := range clients {
			c.reaches("the Service is there", a)
		}
	})
}

// TestASocketThatWasTooEarlyForTheFirstSync has the same at the start of the program, when nothing is known of before.
func TestASocketThatWasTooEarlyForTheFirstSync(t *testing.T) {
	onEach(t, conntrack.Options{}, func(_ *testing.T, n *node) {
		a := n.pod("a")
		c := n.client(n.pod("client"), n.vip(10, 53))
		n.areTooEarly(c)
		n.table = nil
		n.serve(n.udp("dns", n.vip(10, 53), 30053, a))
		c.reaches("the Service is there", a)
	})
}

// TestFlowsToServingEndpointsSurvive ends an endpoint gracefully.
func TestFlowsToServingEndpointsSurvive(t *testing.T) {
	onEach(t, conntrack.Options{}, func(_ *testing.T, n *node) {
		a, b, c := n.pod("a"), n.pod("b"), n.pod("c")
		dns := func(pods ...*lab.Host) *service.Port { return n.udp("dns", n.vip(10, 53), 30053, pods...) }
		n.serve(dns(a))
		pod, outside := n.client(n.pod("client"), n.vip(10, 53)), n.client(n.Outside, n.nodePort(30053))
		pod.reaches("at first", a)
		outside.reaches("at first", a)
		terminating := func(p *service.Port, pod *lab.Host) *service.Port {
			p.Serving = append(p.Serving, n.at(pod))
			slices.SortFunc(p.Serving, netip.AddrPort.Compare)
			return p
		}
		n.serve(terminating(dns(b, c), a))
		pod.reaches("it terminates", a)
		outside.reaches("it terminates", a)
		n.serve(terminating(dns(b), a))
		pod.reaches("it terminates while another one goes", a)
		outside.reaches("it terminates while another one goes", a)
		n.serve(dns(b))
		pod.reaches("it is gone", b)
		outside.reaches("it is gone", b)
	})
}

// TestForeignFlowsSurvive compares the kernel's table before and after changes, with no packet in between.
func TestForeignFlowsSurvive(t *testing.T) {
	onEach(t, conntrack.Options{}, func(t *testing.T, n *node) {
		// By default, a flow without a reply expires after 30 s, on a slow machine before the end of the test.
		if err := n.Nodes[0].SetSysctl("netfilter/nf_conntrack_udp_timeout", "600"); err != nil {
			t.Fatal(err)
		}
		a, b, pod := n.pod("a"), n.pod("b"), n.pod("client")
		if _, err := n.Outside.ServeUDP(lab.Wildcard(n.family, 30053)); err != nil {
			t.Fatal(err)
		}
		other := n.udp("other", n.vip(20, 30053), 0, a)
		dns := func(pods ...*lab.Host) *service.Port { return n.udp("dns", n.vip(10, 53), 30053, pods...) }
		n.serve(dns(a), other)
		n.areTooEarly(n.client(pod, n.vip(30, 53))) // and stays so
		for _, to := range []netip.AddrPort{n.at(a), n.vip(20, 30053), n.Outside.AddrPort(n.family, 30053)} {
			if _, err := n.client(pod, to).ask(patience); err != nil {
				t.Fatalf("%s: %v", to, err)
			}
		}
		foreign := n.tracked(syscall.IPPROTO_UDP)
		if len(foreign) != 4 {
			t.Fatalf("these flows should be one for each client:\n%s", strings.Join(foreign, "\n"))
		}
		n.client(pod, n.vip(10, 53)).reaches("at first", a)
		n.client(n.Outside, n.nodePort(30053)).reaches("at first", a)
		for _, step := range [][]*service.Port{{dns(b), other}, {dns(), other}, {dns(b), other}, {other}} {
			n.serve(step...)
			if got := n.tracked(syscall.IPPROTO_UDP); !slices.Equal(got, foreign) {
				t.Fatalf("the node has the flows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(foreign, "\n"))
			}
		}
	})
}
