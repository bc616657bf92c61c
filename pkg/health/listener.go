package health

import (
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// Whoever reaches the port can connect, so no connection may cost much or last long. A question is a few hundred bytes and
// comes at once; load balancers that keep their connection ask again within the minute.
const (
	longestExchange = 5 * time.Second
	longestIdle     = time.Minute
	longestHeader   = 16 << 10
)

// listener is one address on which a Service's health is answered.
type listener struct {
	socket net.Listener
	server http.Server
}

// listen opens the socket; clients can connect as soon as it returns. It takes the IP version literally: an IPv6 socket on all
// addresses leaves IPv4 alone, so that the other family can have the same port.
func listen(family service.Family, at netip.AddrPort, handler http.Handler) (*listener, error) {
	network := "tcp6"
	if family == service.IPv4 {
		network = "tcp4"
	}
	socket, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	return &listener{socket: socket, server: http.Server{
		Handler:           handler,
		ReadHeaderTimeout: longestExchange,
		ReadTimeout:       longestExchange,
		WriteTimeout:      longestExchange,
		IdleTimeout:       longestIdle,
		MaxHeaderBytes:    longestHeader,
	}}, nil
}

// serve answers until close is called, or the socket fails.
func (l *listener) serve() error { return l.server.Serve(l.socket) }

// close ends the socket and its connections. The port is free when it returns.
func (l *listener) close() {
	// A server that has not come round to serving does not know of its socket yet, so the socket is closed by itself too.
	_ = l.socket.Close()
	_ = l.server.Close()
}

// everywhere is the address that stands for all of a family.
func everywhere(family service.Family) netip.Addr {
	if family == service.IPv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
