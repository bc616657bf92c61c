package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// client is a UDP socket that stays open. Its port does not change, so all that it sends is one flow.
type client struct {
	n    *node
	conn net.Conn
	to   netip.AddrPort
}

func (n *node) client(host *lab.Host, to netip.AddrPort) *client {
	n.t.Helper()
	conn, err := host.Dial(n.t.Context(), "udp", to, host.AddrPort(n.family, 0))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &client{n, conn, to}
}

// ask sends one datagram and returns the server that answers it in time.
func (c *client) ask(within time.Duration) (server netip.AddrPort, err error) {
	c.drain()
	if _, err := c.conn.Write([]byte("who is there?\n")); err != nil {
		return netip.AddrPort{}, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return netip.AddrPort{}, err
	}
	buffer := make([]byte, 512)
	length, err := c.conn.Read(buffer)
	if err != nil {
		return netip.AddrPort{}, err
	}
	text, _, _ := strings.Cut(string(buffer[:length]), " ")
	return netip.ParseAddrPort(text)
}

// drain forgets answers and errors that came too late.
func (c *client) drain() {
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	for range 10 {
		if _, err := c.conn.Read(make([]byte, 512)); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// reaches expects that the next datagram is answered by a pod.
func (c *client) reaches(when string, pod *lab.Host) {
	c.n.t.Helper()
	server, err := c.ask(patience)
	if err == nil && server != c.n.at(pod) {
		err = fmt.Errorf("%s answered", server)
	}
	if err != nil {
		c.n.t.Fatalf("%s: %s should answer at %s: %v; the node has the flows\n%s", when, pod.Name, c.to, err, strings.Join(c.n.tracked(syscall.IPPROTO_UDP), "\n"))
	}
}

// isRefused expects that the next datagram is refused. The node itself is told so by the call that sends.
func (c *client) isRefused(when string) {
	c.n.t.Helper()
	if server, err := c.ask(patience); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPERM) {
		c.n.t.Fatalf("%s: got %s and error %v, want a refusal", when, server, err)
	}
}

// failsFor expects that for some time nobody answers, however often the client asks.
func (c *client) failsFor(when string, times int) {
	c.n.t.Helper()
	for range times {
		if server, err := c.ask(50 * time.Millisecond); err == nil {
			c.n.t.Fatalf("%s: %s answered", when, server)
		}
	}
}

// areTooEarly lets clients ask in vain until the node tracks a flow of each.
func (n *node) areTooEarly(clients ...*client) {
	n.t.Helper()
	n.eventually("every client has a flow", func() error {
		for _, c := range clients {
			c.failsFor("there is no Service yet", 2)
		}
		if flows := n.tracked(syscall.IPPROTO_UDP); len(flows) != len(clients) {
			return fmt.Errorf("the node has the flows\n%s", strings.Join(flows, "\n"))
		}
		return nil
	})
}
