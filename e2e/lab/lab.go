// Package lab builds a small network of hosts out of Linux network
// namespaces, so that tests send real packets from an outside client through
// nodes to pods and back. It needs root.
//
//	outside 172.30.0.100 ──┐
//	                       │           ┌─ veth ─ pod 10.244.1.2
//	node1   172.30.0.11  ──┼─ backbone └─ veth ─ pod 10.244.1.3
//	node2   172.30.0.12  ──┘  172.30.0.1
//
// Every host has an IPv4 and an IPv6 address. The namespaces have no name and
// no mount: they are held by threads and descriptors of this process only, so
// the kernel removes all of them when the process ends, however it ends.
// Nothing is changed in the namespace the process was started in.
package lab

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Options are the choices in a topology. The zero value is the standard one.
type Options struct {
	// Nodes is the number of nodes, two if zero, at most nine.
	Nodes int
}

// Lab is a running topology.
type Lab struct {
	// Backbone is the bridge and default router between the others. It drops
	// what it has no route for without an answer.
	Backbone *Host
	// Outside is a client that is no node and has no pods.
	Outside *Host
	// Nodes are node1, node2 and so on.
	Nodes []*Host

	mu    sync.Mutex
	hosts []*Host // in the order they were made
}

// New builds the standard topology.
func New(opts Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: network namespaces need root")
	}
	if opts.Nodes == 0 {
		opts.Nodes = 2
	}
	if opts.Nodes < 1 || opts.Nodes > maxNodes {
		return nil, fmt.Errorf("lab: %d nodes, want 1 to %d", opts.Nodes, maxNodes)
	}
	l := &Lab{}
	if err := l.build(opts.Nodes); err != nil {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), l.Close())
	}
	return l, nil
}

// addHost makes a namespace with nothing but a loopback interface.
func (l *Lab) addHost(name string, addrs Addresses) (*Host, error) {
	h, err := newHost(name, addrs)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Close ends all processes, then all servers and hosts, last made first. It
// waits until they have ended. Connections that callers still hold keep their
// namespace until they are closed too.
func (l *Lab) Close() error {
	l.mu.Lock()
	hosts := l.hosts
	l.hosts = nil
	l.mu.Unlock()
	slices.Reverse(hosts)
	for _, h := range hosts {
		h.killProcesses()
	}
	var errs []error
	for _, h := range hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}
