package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Host is one network namespace: a node, a pod, the outside client or the
// backbone.
type Host struct {
	// Name is unique in the topology for all but pods.
	Name string
	// Addresses are the host's first addresses.
	Addresses

	ns      int // descriptor of the namespace
	workers *workers
	ctx     context.Context // done when the host is closed
	cancel  context.CancelFunc

	mu        sync.Mutex
	closed    bool
	servers   []io.Closer
	processes []*Process

	place placement
	ports *sourcePorts // those of the namespace
}

func newHost(name string, addrs Addresses) (*Host, error) {
	h := &Host{Name: name, Addresses: addrs, ns: -1, workers: newWorkers()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	// The first worker makes the namespace, the others enter it.
	err := h.workers.do(h.unshare, func() error { return writeSysctls(hostSysctls) })
	if err == nil {
		err = h.setUp("lo")
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// unshare moves the calling thread to a namespace of its own and keeps a
// descriptor of it.
func (h *Host) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare the network namespace: %w", err)
	}
	// Not /proc/self: that is the main thread's namespace.
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	h.ns = ns
	h.ports, err = portsOf(ns)
	return err
}

// enter moves the calling thread to the host's namespace.
func (h *Host) enter() error {
	if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// Do runs f on a thread in the host's namespace and returns what it returns.
// A socket made by f stays in the namespace wherever it is used afterwards.
// Goroutines that f starts are not in the namespace. In f, /proc/sys/net is
// the host's, but for /proc/net say /proc/thread-self/net. A testing.T must
// not be failed in f with Fatal, as that would end the thread.
func (h *Host) Do(f func() error) error {
	if err := h.workers.do(h.enter, f); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// own makes Close close c as well.
func (h *Host) own(c io.Closer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.Join(errClosed, c.Close())
	}
	h.servers = append(h.servers, c)
	return nil
}

// Close ends the host's processes, servers and dials, waits for functions
// still in Do, and gives the namespace up. Commands that were started by Start
// and still run are killed by the kernel.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	servers := h.servers
	h.mu.Unlock()

	h.killProcesses()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	h.cancel()
	h.workers.close()
	if h.ns >= 0 {
		errs = append(errs, unix.Close(h.ns))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", h.Name, err)
	}
	return nil
}
