package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DialContext connects from the host. The address must be numeric: a resolver
// would run outside of the namespace. The signature is that of
// http.Transport.DialContext.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return h.Dial(ctx, network, to, netip.AddrPort{})
}

// Dial connects from the host, with from as the local address if it is valid.
// A zero port in from lets the kernel choose one.
func (h *Host) Dial(ctx context.Context, network string, to, from netip.AddrPort) (net.Conn, error) {
	conn, _, err := h.dial(ctx, network, to, from)
	return conn, err
}

// dial is Dial, and returns how many packets were sent again, also where that
// was in vain.
func (h *Host) dial(ctx context.Context, network string, to, from netip.AddrPort) (_ net.Conn, resent int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()

	d := net.Dialer{KeepAlive: -1}
	if from.IsValid() {
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
	}
	socket := -1 // a copy, which outlives a dial that fails
	d.Control = func(network, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			if err = setDialOptions(int(fd), network, from); err == nil {
				socket, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			}
		}); e != nil {
			return e
		}
		return err
	}
	var conn net.Conn
	// With a numeric address, net makes the socket on the calling goroutine
	// and so on this thread.
	err = h.Do(func() (err error) {
		conn, err = d.DialContext(ctx, network, to.String())
		return err
	})
	if socket >= 0 {
		resent = infoOf(socket).resent
		_ = unix.Close(socket)
	}
	return conn, resent, err
}

func setDialOptions(fd int, network string, from netip.AddrPort) error {
	switch network {
	// Without these a UDP socket is told of no ICMP error but port
	// unreachable and prohibited.
	case "udp4":
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1); err != nil {
			return fmt.Errorf("set IP_RECVERR: %w", err)
		}
	case "udp6":
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1); err != nil {
			return fmt.Errorf("set IPV6_RECVERR: %w", err)
		}
	}
	switch {
	case !from.IsValid():
	case from.Port() == 0:
		// Else bind takes a port that no other connection of the address
		// has, and they run out at 28,000 whatever the destinations.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
	case strings.HasPrefix(network, "tcp"):
		// The port may be in TIME_WAIT from the last time.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("set SO_REUSEADDR: %w", err)
		}
	}
	return nil
}

// Listen is net.Listen in the host's namespace.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	// Plain TCP is what a service mostly gets, and it costs less.
	lc.SetMultipathTCP(false)
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = lc.Listen(h.ctx, network, addr)
		return err
	})
	return l, err
}

// ListenPacket is net.ListenPacket in the host's namespace.
func (h *Host) ListenPacket(network, addr string) (net.PacketConn, error) {
	var lc net.ListenConfig
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = lc.ListenPacket(h.ctx, network, addr)
		return err
	})
	return c, err
}
