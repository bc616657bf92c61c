//go:build ipvs && soak

package ipvs

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// flow is a UDP flow: all its questions come from one port.
type flow struct {
	conn net.Conn
	read *bufio.Reader
}

func (s *stage) flow(from *lab.Host, to netip.AddrPort) *flow {
	s.t.Helper()
	conn, err := from.Dial(s.t.Context(), "udp", to, lab.Wildcard(familyOf(to.Addr()), s.nextPort()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &flow{conn, bufio.NewReader(conn)}
}

// ask returns which pod answers.
func (f *flow) ask(timeout time.Duration) (netip.Addr, error) {
	if _, err := f.conn.Write([]byte("?\n")); err != nil {
		return netip.Addr{}, err
	}
	_ = f.conn.SetReadDeadline(time.Now().Add(timeout))
	line, err := f.read.ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	server, _, _ := strings.Cut(line, " ")
	addr, err := netip.ParseAddrPort(server)
	return addr.Addr(), err
}

// TestAUDPFlowStaysAsLongAsItsEndpointServes and then moves on at once, as the end of a UDP flow cannot be seen.
func TestAUDPFlowStaysAsLongAsItsEndpointServes(t *testing.T) {
	s, one, two := webStage(t)
	flows := map[string]*flow{}
	s.everywhere(func(from *lab.Host, to netip.AddrPort) {
		flows[fmt.Sprintf("%s to %s", from.Name, to)] = s.flow(from, to)
	})
	for name, flow := range flows {
		s.Eventually(name+" is answered", func() error {
			by, err := flow.ask(lab.AttemptTimeout)
			if err == nil && !isOneOf(by, one) {
				return fmt.Errorf("%s answers", by)
			}
			return err
		})
	}
	s.behind("web", endpoint{one, s.node1, "!ready terminating"}, endpoint{two, s.node2, ""})
	s.weighs("udp", one, 0)
	s.everywhere(func(from *lab.Host, to netip.AddrPort) { s.served(from, "udp", to, two) })
	for range 5 {
		for name, flow := range flows {
			if by, err := flow.ask(lab.AnswerTimeout); err != nil || !isOneOf(by, one) {
				t.Errorf("%s: %s answers while %s still serves; error %v", name, by, one.Name, err)
			}
		}
		s.Verified(1)
	}
	s.within(2, "the endpoint goes", func() { s.behind("web", endpoint{two, s.node2, ""}) }, func() error { return s.webHasWeight("udp", one, -1) })
	for name, flow := range flows {
		by, err := flow.ask(lab.Patience(time.Second))
		if err != nil { // the kernel may drop the packet by which it notices that the endpoint is gone
			by, err = flow.ask(lab.AnswerTimeout)
		}
		if err != nil || !isOneOf(by, two) {
			t.Errorf("%s: %s answers, want %s; error %v", name, by, two.Name, err)
		}
	}
}
