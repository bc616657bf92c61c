package apiserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

// relay is a way to the API server that a test can cut off, at the address of the host that it runs on.
type relay struct {
	address netip.AddrPort
	host    *lab.Host
	server  string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// newRelay passes connections to a port of a host on to the API server on the same host.
func newRelay(t *testing.T, host *lab.Host, port, server uint16) *relay {
	t.Helper()
	r := &relay{address: host.AddrPort(lab.IPv4, port), host: host, server: host.AddrPort(lab.IPv4, server).String(), conns: map[net.Conn]struct{}{}}
	listener, err := host.Listen("tcp", r.address.String())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		running.Wait()
	})
	return r
}

// pass copies in both directions until one of them ends.
func (r *relay) pass(client net.Conn) {
	server, err := r.host.DialContext(context.Background(), "tcp", r.server)
	if err != nil {
		client.Close()
		return
	}
	r.hold(client, server)
	var copying sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		copying.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = errors.Join(way[0].Close(), way[1].Close())
		})
	}
	copying.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, client)
	delete(r.conns, server)
}

func (r *relay) hold(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = struct{}{}
	}
}

// cut ends all connections; new ones are passed on.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}
