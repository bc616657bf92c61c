package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The server drops the client's first SYNs. How many depends on timing, so
// Resent is compared with the counter of the client's kernel.
func TestResent(t *testing.T) {
	for _, f := range Families {
		for _, dropped := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d SYNs are dropped", f, dropped), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				s := newFullServer(t, l, f)
				if dropped == 0 {
					s.serve(t)
				}
				drops, sent := s.drops(t), resentBy(t, l.Outside)
				asked := make(chan struct{})
				var answer Answer
				var err error
				go func() {
					defer close(asked)
					answer, err = l.Outside.AskPromptly(t.Context(), "tcp", s.addr, Reset())
				}()
				settle(t, func() error {
					if n := s.drops(t) - drops; n < dropped {
						return fmt.Errorf("the server has dropped %d SYNs", n)
					}
					return nil
				})
				if dropped > 0 {
					s.serve(t)
				}
				<-asked
				if want := resentBy(t, l.Outside) - sent; answer.Resent != want || want < dropped || answer.Server != s.addr {
					t.Errorf("got %+v from %s, want %d packets sent again, at least %d", answer, s.addr, want, dropped)
				}
				if lost := dropped > 1; answer.Lost != lost && answer.Resent == dropped {
					t.Errorf("got %+v, want Lost to be %t", answer, lost)
				}
				switch want := strconv.Itoa(answer.Resent) + " packets sent again"; {
				case answer.Resent < 2 && err != nil:
					t.Errorf("got %v, want no error after %s", err, want)
				case answer.Resent > 1 && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("got %v, want an error that says %q", err, want)
				}
			})
		}
	}
}

// Resent counts without an answer, too.
func TestResentInVain(t *testing.T) {
	l := newLab(t)
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			nobody := netip.AddrPortFrom(Addresses{IPv4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParseAddr("2001:db8::1")}.Address(f), 80)
			before := resentBy(t, l.Outside)
			asked := make(chan struct{})
			var answer Answer
			var err error
			go func() {
				defer close(asked)
				answer, err = l.Outside.Ask(ctx, "tcp", nobody)
			}()
			settle(t, func() error {
				if resentBy(t, l.Outside) == before {
					return errors.New("the client has not sent its SYN again")
				}
				return nil
			})
			cancel()
			<-asked
			if answer.Resent < 1 || !errors.Is(err, context.Canceled) {
				t.Errorf("got %+v and %v, want what was sent again and that it was cancelled", answer, err)
			}
		})
	}
}

// fullServer is a server whose accept queue is full until serve: the kernel
// drops every SYN.
type fullServer struct {
	host     *Host
	addr     netip.AddrPort
	listener *net.TCPListener
}

func newFullServer(t *testing.T, l *Lab, f Family) *fullServer {
	t.Helper()
	host := l.Nodes[0]
	s := &fullServer{host: host, addr: host.AddrPort(f, 80)}
	err := host.Do(func() (err error) {
		s.listener, err = listenOne(s.addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	conn, err := l.Nodes[1].Dial(t.Context(), "tcp", s.addr, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	settle(t, func() error {
		// The receive queue of a listening socket is the length of its accept queue.
		const oneWaits = " 0A 00000000:00000001 "
		sockets, err := tcpSockets(host, f)
		if err == nil && !strings.Contains(sockets, oneWaits) {
			err = fmt.Errorf("the accept queue is not full:\n%s", sockets)
		}
		return err
	})
	return s
}

// listenOne listens with an accept queue that holds one connection.
func listenOne(addr netip.AddrPort) (*net.TCPListener, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: addr.Addr().As16(), Port: int(addr.Port())})
	if addr.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "tcp "+addr.String())
	defer func() { _ = file.Close() }() // FileListener duplicates it
	if err := errors.Join(unix.Bind(fd, sa), unix.Listen(fd, 0)); err != nil {
		return nil, err
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// drops counts the SYNs that the server's kernel has dropped.
func (s *fullServer) drops(t *testing.T) int {
	t.Helper()
	return counter(t, s.host, "netstat", "TcpExt", "ListenDrops")
}

// serve makes the server accept and answer.
func (s *fullServer) serve(t *testing.T) {
	server := newServer(s.addr, s.listener)
	server.wg.Go(func() { server.accept(s.listener) })
	t.Cleanup(func() { _ = server.Close() })
}

// resentBy counts the TCP segments that a host's kernel has sent again.
func resentBy(t *testing.T, h *Host) int {
	t.Helper()
	return counter(t, h, "snmp", "Tcp", "RetransSegs")
}

// counter reads a counter from a file below /proc/net that has a line of names
// and a line of values for each protocol.
func counter(t *testing.T, h *Host, file, protocol, name string) int {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/" + file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := range names {
			if names[i] == name {
				n, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("%s has no %s %s:\n%s", file, protocol, name, text)
	return 0
}
