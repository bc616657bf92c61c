package lab

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"sync"
)

// Server answers on one address or on the wildcard. Its answer is one line,
//
//	<serving address:port> <client address:port as the server sees it>
//
// so that the client learns both what became of the destination address and
// what became of its own.
type Server struct {
	addr   netip.AddrPort
	socket io.Closer
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	counts map[netip.AddrPort]int
	conns  map[io.Closer]struct{}
}

func newServer(addr netip.AddrPort, socket io.Closer) *Server {
	return &Server{
		addr:   addr,
		socket: socket,
		counts: map[netip.AddrPort]int{},
		conns:  map[io.Closer]struct{}{},
	}
}

// Addr is the address the server listens on, with the port the kernel chose
// if that was left to it.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Counts returns how many connections or datagrams were answered from each
// serving address.
func (s *Server) Counts() map[netip.AddrPort]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Total returns how many connections or datagrams were answered.
func (s *Server) Total() int {
	total := 0
	for _, n := range s.Counts() {
		total += n
	}
	return total
}

// answer counts a question and returns the line to send.
func (s *Server) answer(server, client netip.AddrPort) []byte {
	s.mu.Lock()
	s.counts[server]++
	s.mu.Unlock()
	return fmt.Appendf(nil, "%s %s\n", server, client)
}

// Close stops the server and ends its connections.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conns := maps.Clone(s.conns)
	s.mu.Unlock()
	err := s.socket.Close()
	for c := range conns {
		_ = c.Close()
	}
	s.wg.Wait()
	return err
}

// unmap turns an IPv4 address from a dual-stack socket into its usual form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
