//go:build ipvs

package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// webStage is a stage with two pods for Service web, of which the first is behind it.
func webStage(t *testing.T, flags ...string) (s *stage, one, two *lab.Host) {
	t.Helper()
	s = newStage(t)
	s.openOutside()
	one, two = s.Pod(s.node1, "one", 8080), s.Pod(s.node2, "two", 8080)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{one, s.node1, ""})
	s.start(flags...)
	return s, one, two
}

// weighs waits until the real server of a pod has a weight; -1: it is not there.
func (s *stage) weighs(network string, pod *lab.Host, weight int) {
	s.t.Helper()
	for _, f := range lab.Families {
		s.Eventually(fmt.Sprintf("%s: %s weighs %d", f, pod.Name, weight), func() error {
			weights, err := s.kernel.real(network, vip(f, 10, 80))
			is, there := weights[pod.AddrPort(f, 8080)]
			if !there {
				is = -1
			}
			if err == nil && is != weight {
				return fmt.Errorf("it weighs %d: %v", is, weights)
			}
			return err
		})
	}
}

// everywhere tries the Service from all askers, in both families.
func (s *stage) everywhere(try func(from *lab.Host, to netip.AddrPort)) {
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			try(from, vip(f, 10, 80))
		}
	}
}

// standing opens connections from everywhere.
func (s *stage) standing() (conns map[string]*lab.Conn) {
	s.t.Helper()
	conns = map[string]*lab.Conn{}
	s.everywhere(func(from *lab.Host, to netip.AddrPort) {
		conn, err := from.Connect(s.t.Context(), to, lab.Reset())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		conns[fmt.Sprintf("%s to %s", from.Name, to)] = conn
	})
	return conns
}

func TestAStandingConnectionOutlivesItsEndpoint(t *testing.T) {
	s, one, two := webStage(t)
	conns := s.standing()
	nobody := []*lab.Host(nil)
	steps := []struct {
		name    string
		do      func()
		servers []*lab.Host // of new connections
	}{
		{"it is terminating", func() {
			s.behind("web", endpoint{one, s.node1, "!ready terminating"}, endpoint{two, s.node2, ""})
		}, []*lab.Host{two}},
		{"it is gone", func() { s.behind("web", endpoint{two, s.node2, ""}) }, []*lab.Host{two}},
		{"Fairlead is killed and comes back", func() { s.Stop(syscall.SIGKILL); s.start() }, []*lab.Host{two}},
		{"the last endpoint goes", func() { s.behind("web") }, nobody},
		{"the Service has an endpoint again", func() { s.behind("web", endpoint{two, s.node2, ""}) }, []*lab.Host{two}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			s.everywhere(func(from *lab.Host, to netip.AddrPort) {
				if step.servers == nil {
					s.refused(from, to)
					return
				}
				s.served(from, "tcp", to, step.servers...)
			})
			s.weighs("tcp", one, 0)
			for name, conn := range conns {
				if err := conn.Echo(t.Context(), step.name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	s.weighs("tcp", one, -1)
}

// refused waits until a new connection is refused before a second packet is sent, which is after a second; over IPv6, before a third one:
// a client's kernel may miss the first refusal where all hosts are on one machine (see package lab).
func (s *stage) refused(from *lab.Host, to netip.AddrPort) {
	s.t.Helper()
	limit := 900 * time.Millisecond
	if to.Addr().Is6() {
		limit = 1900 * time.Millisecond
	}
	s.Eventually(fmt.Sprintf("%s refuses %s at once", to, from.Name), func() error {
		start := time.Now()
		answer, err := from.Ask(s.t.Context(), "tcp", to, lab.Reset())
		if took := time.Since(start); !errors.Is(err, lab.ErrRefused) || took > limit {
			return fmt.Errorf("got answer %v, error %w after %v", answer.Server, err, took)
		}
		return nil
	})
}

func TestAConnectionIsKeptForTheDrainTimeoutAtMost(t *testing.T) {
	const timeout = 6 * time.Second
	s, one, two := webStage(t, "--ipvs-drain-timeout", timeout.String())
	conns := s.standing()
	s.behind("web", endpoint{two, s.node2, ""})
	s.weighs("tcp", one, 0)
	start := time.Now()
	for name, conn := range conns {
		if err := conn.Echo(t.Context(), "still there"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.weighs("tcp", one, -1)
	// The look at the kernel that finds it out comes every second.
	if took := time.Since(start); took < timeout/2 || took > timeout+site.Patience(time.Second) {
		t.Errorf("it took %v, want about %v", took, timeout)
	}
	var asking sync.WaitGroup
	for name, conn := range conns {
		asking.Go(func() {
			for range 5 { // the first packet may get lost
				switch err := conn.Echo(t.Context(), "and now"); {
				case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
					return
				case err != nil:
					t.Errorf("%s: %v, want that the client is told", name, err)
					return
				}
			}
			t.Errorf("%s: the connection stands", name)
		})
	}
	asking.Wait()
}

// TestAReusedPortReachesALivingEndpointAtOnce takes up the port of a connection to an endpoint that is gone (kubernetes#81775), which must
// not take the second until the next SYN (kubernetes#93297).
func TestAReusedPortReachesALivingEndpointAtOnce(t *testing.T) {
	s, one, two := webStage(t)
	pods := map[bool]*lab.Host{false: one, true: two}
	nodes := map[bool]*lab.Host{false: s.node1, true: s.node2}
	var slow []string
	const rounds = 3
	for i := range rounds {
		port := uint16(41000 + i)
		ask := func(f lab.Family) (lab.Answer, error) {
			return s.client.Ask(t.Context(), "tcp", vip(f, 10, 80), lab.Reset(), lab.From(s.client.AddrPort(f, port)))
		}
		second := i%2 == 0
		for _, f := range lab.Families {
			if _, err := ask(f); err != nil {
				t.Fatal(err)
			}
		}
		s.behind("web", endpoint{pods[second], nodes[second], ""})
		s.Eventually("the other one is in service", func() error {
			weights, err := s.kernel.real("tcp", vip(lab.IPv6, 10, 80))
			if err == nil && weights[pods[second].AddrPort(lab.IPv6, 8080)] != 1 {
				return fmt.Errorf("there are %v", weights)
			}
			return err
		})
		s.served(s.client, "tcp", vip(lab.IPv4, 10, 80), pods[second])
		for _, f := range lab.Families {
			answer, err := ask(f)
			if err != nil || answer.Server != pods[second].AddrPort(f, 8080) {
				t.Errorf("%s: got %v, error %v", f, answer.Server, err)
			}
			if answer.Took > 900*time.Millisecond {
				slow = append(slow, fmt.Sprintf("%s %v", f, answer.Took))
			}
		}
	}
	if len(slow) > 0 {
		t.Errorf("these took long: %v", slow)
	}
}

// flow asks over UDP from one port all the time.
type flow struct {
	conn net.Conn
	read *bufio.Reader
}

func (s *stage) flow(from *lab.Host, to netip.AddrPort) *flow {
	s.t.Helper()
	conn, err := from.Dial(s.t.Context(), "udp", to, netip.AddrPort{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &flow{conn, bufio.NewReader(conn)}
}

// ask returns who answers.
func (f *flow) ask() (netip.Addr, error) {
	if _, err := f.conn.Write([]byte("?\n")); err != nil {
		return netip.Addr{}, err
	}
	_ = f.conn.SetReadDeadline(time.Now().Add(time.Second))
	line, err := f.read.ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	server, _, _ := strings.Cut(line, " ")
	addr, err := netip.ParseAddrPort(server)
	return addr.Addr(), err
}

// TestAUDPFlowStaysAsLongAsItsEndpointServes and then moves on at once, as nobody sees its end.
func TestAUDPFlowStaysAsLongAsItsEndpointServes(t *testing.T) {
	s, one, two := webStage(t)
	flows := map[string]*flow{}
	s.everywhere(func(from *lab.Host, to netip.AddrPort) {
		flows[fmt.Sprintf("%s to %s", from.Name, to)] = s.flow(from, to)
	})
	reaches := func(pod *lab.Host) {
		t.Helper()
		for name, flow := range flows {
			s.Eventually(name+" reaches "+pod.Name, func() error {
				by, err := flow.ask()
				if err == nil && !isOneOf(by, pod) {
					return fmt.Errorf("%s answers", by)
				}
				return err
			})
		}
	}
	reaches(one)
	s.behind("web", endpoint{one, s.node1, "!ready terminating"}, endpoint{two, s.node2, ""})
	s.weighs("udp", one, 0)
	s.everywhere(func(from *lab.Host, to netip.AddrPort) { s.served(from, "udp", to, two) })
	for range 5 {
		for name, flow := range flows {
			if by, err := flow.ask(); err != nil || !isOneOf(by, one) {
				t.Errorf("%s: %s answers while %s still serves; error %v", name, by, one.Name, err)
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
	gone := time.Now()
	s.behind("web", endpoint{two, s.node2, ""})
	reaches(two)
	if took := time.Since(gone); took > site.Patience(2*time.Second) {
		t.Errorf("it took the flows %v to move on", took)
	}
}
