package lab

import (
	"fmt"
	"net"
	"net/netip"
)

// ServeTCP answers every connection with one line at once and then echoes
// what it gets until the client closes. 0.0.0.0 listens on all IPv4
// addresses, [::] on all of both families.
func (h *Host) ServeTCP(addr netip.AddrPort) (*Server, error) {
	network := "tcp"
	if addr.Addr().Is4() {
		network = "tcp4" // as with "tcp", 0.0.0.0 would be both families
	}
	l, err := h.Listen(network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("serve tcp: %w", err)
	}
	s := newServer(unmap(l.Addr().(*net.TCPAddr).AddrPort()), l)
	s.wg.Go(func() { s.accept(l.(*net.TCPListener)) })
	if err := h.own(s); err != nil {
		return nil, fmt.Errorf("serve tcp: %w", err)
	}
	return s, nil
}

func (s *Server) accept(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return // closed
		}
		s.wg.Go(func() { s.serveConn(conn) })
	}
}

func (s *Server) serveConn(conn *net.TCPConn) {
	defer func() { _ = conn.Close() }()
	if !s.track(conn) {
		return
	}
	defer s.untrack(conn)
	server := unmap(conn.LocalAddr().(*net.TCPAddr).AddrPort())
	client := unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	if _, err := conn.Write(s.answer(server, client)); err != nil {
		return
	}
	// io.Copy would splice, with a pipe for each standing connection.
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// track remembers a connection for Close, unless the server is closed.
func (s *Server) track(conn *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) untrack(conn *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}
