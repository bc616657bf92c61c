package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
)

// subscription tells of changes of addresses, but not of which: the list is read again anyway, and only it is always right.
type subscription struct {
	changed <-chan struct{} // one is waiting in it if anything changed since it was last read
	failed  <-chan error    // gets one error; nothing changes after it
	close   func()
}

// rtnetlink is the kernel of this machine.
type rtnetlink struct {
	except []string // names of interfaces
}

// subscribe also hears of flags: the kernel announces an address anew when its flags change, and so when an IPv6 address
// stops being tentative.
func (rtnetlink) subscribe() (*subscription, error) {
	socket, err := openAnnouncements()
	if err != nil {
		return nil, err
	}
	changed, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() { failed <- readAnnouncements(socket, changed) }()
	return &subscription{changed: changed, failed: failed, close: func() { socket.Close() }}, nil
}

// openAnnouncements opens a socket that hears of the addresses of the calling thread's network namespace.
func openAnnouncements() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route netlink socket: %w", err)
	}
	groups := unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}
	if err := unix.Bind(fd, &groups); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("join the netlink groups for addresses: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// readAnnouncements signals each announcement that the socket gets, until that fails. The text of a message does not
// matter, nor does the loss of many when the socket's buffer was full (ENOBUFS): that too says that something has changed.
func readAnnouncements(socket *os.File, changed chan<- struct{}) error {
	var beginning [unix.SizeofNlMsghdr]byte // the rest of a message is dropped by the kernel
	for {
		_, err := socket.Read(beginning[:])
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case changed <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// addresses lists the usable addresses.
func (r rtnetlink) addresses() ([]netip.Addr, error) {
	listed, err := rtnl.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	// Only now: an interface that was made before the listing is found, and what happens later is announced.
	except, err := r.exceptIndexes()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, l := range listed {
		if addr, ok := usable(l); ok && !except[l.LinkIndex] {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

func (r rtnetlink) exceptIndexes() (map[int]bool, error) {
	indexes := map[int]bool{}
	for _, name := range r.except {
		link, err := netlink.LinkByName(name)
		if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find the interface %s: %w", name, err)
		}
		indexes[link.Attrs().Index] = true
	}
	return indexes, nil
}
