package lab

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Enter makes a host of a namespace that another program made, such as a pod's
// in a real cluster: path is a file that stands for it. The lab's Close gives
// it up and leaves its links, addresses and settings as they are.
func (l *Lab) Enter(name, path string, addrs Addresses) (*Host, error) {
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("host %s: open the network namespace %s: %w", name, path, err)
	}
	h := &Host{Name: name, Addresses: addrs, ns: ns, workers: newWorkers()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if h.ports, err = portsOf(ns); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	// Find out now whether it can be entered.
	if err := h.Do(func() error { return nil }); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = append(l.hosts, h)
	return h, nil
}
