package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// firstSourcePort and lastSourcePort are the range of source ports that a
	// host takes one after the other: below node ports (30000 to 32767) and
	// the kernel's own choice (ip_local_port_range, 32768 to 60999), above the
	// ports of the programs under test.
	firstSourcePort = 11000
	lastSourcePort  = 29999

	// firstStandingPort is the first of those for connections that stand, above
	// the kernel's own choice. A host's questions, which start from the first
	// port again at some time, never come upon a port that is in use.
	firstStandingPort = 61000
	lastStandingPort  = 65535
)

// sourcePorts counts those that were taken in one network namespace.
type sourcePorts struct {
	asked, standing atomic.Uint32
}

// namespaces has a *sourcePorts for each network namespace by its inode: Enter
// makes another Host of the same one each time. Where the kernel gives an inode
// to another namespace later, that one does not begin with the first port.
var namespaces sync.Map

func portsOf(ns int) (*sourcePorts, error) {
	var file unix.Stat_t
	if err := unix.Fstat(ns, &file); err != nil {
		return nil, fmt.Errorf("identify the network namespace: %w", err)
	}
	ports, _ := namespaces.LoadOrStore(file.Ino, new(sourcePorts))
	return ports.(*sourcePorts), nil
}

// nextPort is a source port that the host has not used for the longest time.
// The kernel's choice is random, and IPVS can't have that: it recognizes a
// reply by the addresses and ports of client and endpoint alone, for up to two
// minutes after a connection, and translates the replies of a second connection
// between them on behalf of the first one's virtual server (see
// docs/differences.md).
func (h *Host) nextPort() uint16 {
	return nextOf(&h.ports.asked, firstSourcePort, lastSourcePort)
}

// StandingPort is a source port for a connection or flow that stands while
// the host goes on to ask: one that no question takes, and no other such
// connection did for the longest time.
func (h *Host) StandingPort() uint16 {
	return nextOf(&h.ports.standing, firstStandingPort, lastStandingPort)
}

func nextOf(taken *atomic.Uint32, first, last uint32) uint16 {
	return uint16(first + (taken.Add(1)-1)%(last-first+1))
}

// dialFromNextPort dials from the host's next source port, unless from has a
// port. It returns the local address and how many packets were sent again.
func (h *Host) dialFromNextPort(ctx context.Context, network string, to, from netip.AddrPort) (net.Conn, netip.AddrPort, int, error) {
	if !from.IsValid() {
		from = Wildcard(familyOf(to.Addr()), 0)
	}
	if from.Port() != 0 {
		conn, resent, err := h.dial(ctx, network, to, from)
		return conn, from, resent, err
	}
	const tries = 100
	for try := 1; ; try++ {
		from = netip.AddrPortFrom(from.Addr(), h.nextPort())
		conn, resent, err := h.dial(ctx, network, to, from)
		taken := errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
		if !taken || try == tries {
			return conn, from, resent, err
		}
	}
}
