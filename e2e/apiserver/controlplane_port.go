package apiserver

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// reservedPort is the TCP port of an API server. One that was chosen is held by
// a socket that is bound to it and does not listen, so no other program on the
// machine gets it before the API server binds it or while that is killed; the
// API server itself gets it because both share the port.
type reservedPort struct {
	number int
	// socket holds the port, or is -1 if the port was given.
	socket int
}

// reservePort returns the given port of the address, or a free one if it is 0.
func reservePort(address string, port int) (*reservedPort, error) {
	if port != 0 {
		return &reservedPort{number: port, socket: -1}, nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	held, err := bindFree(ip)
	if err != nil {
		return nil, fmt.Errorf("find a free port of %s (one in another network namespace needs Port set): %w", ip, err)
	}
	return held, nil
}

// bindFree has the kernel choose a free port of an address and keeps it bound.
func bindFree(ip netip.Addr) (*reservedPort, error) {
	family, zero := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: ip.As16()})
	if ip.Is4() {
		family, zero = unix.AF_INET, &unix.SockaddrInet4{Addr: ip.As4()}
	}
	socket, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	number, err := bindShared(socket, zero)
	if err != nil {
		return nil, errors.Join(err, unix.Close(socket))
	}
	return &reservedPort{number: number, socket: socket}, nil
}

// bindShared binds the socket such that another one can share its port, and
// returns the port.
func bindShared(socket int, address unix.Sockaddr) (int, error) {
	// The port has to be free of everybody else, so sharing is allowed only
	// once it is bound.
	if err := unix.Bind(socket, address); err != nil {
		return 0, fmt.Errorf("bind a socket: %w", err)
	}
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("share a port: %w", err)
	}
	bound, err := unix.Getsockname(socket)
	if err != nil {
		return 0, fmt.Errorf("read the port of a socket: %w", err)
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		return bound.Port, nil
	case *unix.SockaddrInet6:
		return bound.Port, nil
	}
	return 0, fmt.Errorf("socket with an address of type %T", bound)
}

// release gives the port back.
func (p *reservedPort) release() error {
	if p.socket < 0 {
		return nil
	}
	return unix.Close(p.socket)
}
