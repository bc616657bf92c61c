package lab

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpInfo is what the kernel counts for a TCP connection. It is zero for UDP.
type tcpInfo struct {
	resent int // packets that were sent again
	window int // for congestion, in packets
}

// lostSYN is for a connection on which nothing has been sent yet. Its window is 1 after more than one SYN was sent again, unless the SYN-ACK
// has the timestamp of the first one (tcp_try_undo_spurious_syn, tcp_init_transfer).
func (i tcpInfo) lostSYN() bool { return i.resent > 1 && i.window == 1 }

func (c *Conn) info() (info tcpInfo) {
	tcp, ok := c.conn.(*net.TCPConn)
	if !ok {
		return info
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { info = infoOf(int(fd)) })
	}
	return info
}

func infoOf(fd int) tcpInfo {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return tcpInfo{} // UDP
	}
	return tcpInfo{resent: int(info.Total_retrans), window: int(info.Snd_cwnd)}
}
