package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
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

	// FirstClientPort and LastClientPort are the same range, for tests that
	// choose source ports themselves.
	FirstClientPort = firstSourcePort
	LastClientPort  = lastSourcePort
)

// nextPort is a source port that the host has not used for the longest time.
// The kernel's choice is random, and IPVS can't have that: it recognizes a
// reply by the addresses and ports of client and endpoint alone, for up to two
// minutes after a connection, and translates the replies of a second connection
// between them on behalf of the first one's virtual server (see
// docs/differences.md).
func (h *Host) nextPort() uint16 {
	const size = lastSourcePort - firstSourcePort + 1
	return uint16(firstSourcePort + (h.ports.Add(1)-1)%size)
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

// resent is how many packets a TCP connection has sent again.
func resent(conn net.Conn) (n int) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n = resentOn(int(fd)) })
	}
	return n
}

func resentOn(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0 // UDP
	}
	return int(info.Total_retrans)
}
