package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// Options are what Servers may be told about their surroundings. None is needed. No function may call back into Servers.
type Options struct {
	// Healthy says whether the proxy keeps up with the cluster; nil: always. It is called for each question, from many
	// goroutines.
	Healthy func() bool
	// Addresses are those on which node ports answer at the moment, of the Servers' family; nil, or none of them: all that
	// the node has. They are asked for at each call of Synced.
	Addresses func() []netip.Addr
	// Events tells a Service's owner what is wrong, once for each failure and again only if it worked in between; nil:
	// nobody is told. It may be called from any goroutine, until Close returns.
	Events func(service types.NamespacedName, reason, message string)
}

// Servers listen on the health check node ports of one IP family. A dual-stack node has two Servers, which listen on the same
// ports; the count that each answers is that of its own family's endpoints.
type Servers struct {
	family service.Family
	opts   Options
	pause  time.Duration // before the first retry
	listen func(service.Family, netip.AddrPort, http.Handler) (*listener, error)

	mu        sync.Mutex
	checks    map[types.NamespacedName]*check // all that are wanted, whether they listen or not
	addresses []netip.Addr                    // as of the last call of Synced; never empty after it
	closed    bool
	running   sync.WaitGroup // everything started with mu held and closed unset
}

// New returns Servers that do not listen yet. They need Close.
func New(family service.Family, opts Options) *Servers {
	if opts.Healthy == nil {
		opts.Healthy = func() bool { return true }
	}
	return &Servers{family: family, opts: opts, pause: firstPause, listen: listen, checks: map[types.NamespacedName]*check{}}
}

// Synced listens on the ports of is.HealthChecks and on no others. A port that cannot be had is an error and does not keep the
// others from theirs; it is tried again by itself, and at the next call. Counts change without touching a connection.
func (s *Servers) Synced(ctx context.Context, _, is *service.Table, _ service.PortSet) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("health checks of %s: %w", s.family, err)
	}
	failures, err := s.follow(is.HealthChecks)
	if err != nil {
		return fmt.Errorf("health checks of %s: %w", s.family, err)
	}
	errs := make([]error, 0, len(failures))
	for _, f := range failures {
		s.tell(f)
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// Close ends all listeners and their connections, and returns when nothing runs any more that could open one.
func (s *Servers) Close() {
	s.mu.Lock()
	s.closed = true
	for name, c := range s.checks {
		c.end()
		delete(s.checks, name)
	}
	s.mu.Unlock()
	s.running.Wait()
}

// follow brings the checks in step with what is wanted. All ports that have to go are given up before the first is opened: two
// Services may have exchanged theirs.
func (s *Servers) follow(wanted []service.HealthCheck) ([]*failure, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	s.addresses = s.listed()
	owners := ownersOf(wanted)
	s.giveUp(wanted, owners)

	var failures []*failure
	for _, w := range wanted {
		c := s.checks[w.Service]
		if c == nil {
			c = newCheck(w, s.opts.Healthy)
			s.checks[w.Service] = c
		}
		c.local.Store(int64(w.LocalEndpoints))
		if owner := owners[w.Port]; owner != w.Service {
			failures = append(failures, c.failed(contested(owner)))
		} else if f := s.open(c); f != nil {
			failures = append(failures, f)
		}
	}
	return failures, nil
}

// listed returns the addresses to listen on: health checks keep to those of node ports (kubernetes/kubernetes#82163).
func (s *Servers) listed() []netip.Addr {
	if s.opts.Addresses != nil {
		if addresses := s.opts.Addresses(); len(addresses) > 0 {
			return slices.Clone(addresses)
		}
	}
	return []netip.Addr{everywhere(s.family)}
}

// ownersOf says which Service has each port: the first by name of those that want it, so that it does not depend on which came
// first and is the same on every node.
func ownersOf(wanted []service.HealthCheck) map[uint16]types.NamespacedName {
	owners := make(map[uint16]types.NamespacedName, len(wanted))
	for _, w := range wanted {
		if _, taken := owners[w.Port]; !taken {
			owners[w.Port] = w.Service
		}
	}
	return owners
}

// giveUp closes whatever is not wanted any more: checks whose Service is gone or has moved, sockets of those that lost their
// port to another Service, and sockets on addresses that are not listed now.
func (s *Servers) giveUp(wanted []service.HealthCheck, owners map[uint16]types.NamespacedName) {
	ports := make(map[types.NamespacedName]uint16, len(wanted))
	for _, w := range wanted {
		ports[w.Service] = w.Port
	}
	for name, c := range s.checks {
		port, found := ports[name]
		switch {
		case !found || port != c.port:
			c.end()
			delete(s.checks, name)
		case owners[port] != name:
			c.end() // but it stays known, with what its owner has been told
		default:
			c.leave(s.addresses)
		}
	}
}

// tell lets a Service's owner know of a failure, unless it is an old one. It needs mu not held: what is called may take long.
func (s *Servers) tell(f *failure) {
	if f.news && s.opts.Events != nil {
		s.opts.Events(f.service, reason, f.Error())
	}
}
