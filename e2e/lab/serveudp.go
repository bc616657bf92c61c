package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ServeUDP answers every datagram with one line, from the address the
// datagram was sent to. 0.0.0.0 listens on all IPv4 addresses, [::] on all of
// both families.
func (h *Host) ServeUDP(addr netip.AddrPort) (*Server, error) {
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = listenUDP(addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serve udp: %w", err)
	}
	s := newServer(unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort()), conn)
	s.wg.Go(func() { s.serveDatagrams(conn) })
	if err := h.own(s); err != nil {
		return nil, fmt.Errorf("serve udp: %w", err)
	}
	return s, nil
}

// listenUDP opens an IPv6 socket for either family; on it an IPv4 address is
// ::ffff:a.b.c.d. So there is one form of the control message that tells the
// address a datagram was sent to and that a reply is sent from.
func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open udp socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "udp "+addr.String())
	defer func() { _ = f.Close() }() // FilePacketConn duplicates it
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0),
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1),
	)
	if err != nil {
		return nil, fmt.Errorf("set udp socket options: %w", err)
	}
	sa := &unix.SockaddrInet6{Addr: addr.Addr().As16(), Port: int(addr.Port())}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, fmt.Errorf("bind udp %s: %w", addr, err)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("open udp %s: %w", addr, err)
	}
	return conn.(*net.UDPConn), nil
}

func (s *Server) serveDatagrams(conn *net.UDPConn) {
	buf := make([]byte, 2048)
	oob := make([]byte, 128)
	for {
		_, n, _, client, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		local, err := destination(oob[:n])
		if err != nil {
			continue
		}
		line := s.answer(netip.AddrPortFrom(local.Unmap(), s.addr.Port()), unmap(client))
		// A reply that cannot be sent is a reply lost, as on any network.
		_, _, _ = conn.WriteMsgUDPAddrPort(line, source(local), client)
	}
}

// destination reads the address a datagram was sent to from its control
// messages.
func destination(oob []byte) (netip.Addr, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("parse control message: %w", err)
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16 {
			return netip.AddrFrom16([16]byte(m.Data)), nil
		}
	}
	return netip.Addr{}, errors.New("no packet info in control message")
}

// source writes the control message that sends a datagram from an address.
// The interface stays 0, for the routes to choose.
func source(local netip.Addr) []byte {
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()})
}
