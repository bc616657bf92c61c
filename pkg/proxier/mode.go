package proxier

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// Mode is one way to forward, of which a node can change from one to another.
type Mode struct {
	// Name tells it from the others.
	Name string
	// Backend writes it. It takes over what another Backend of the same mode has left, by this process or one before.
	Backend Backend
	// FitNodePorts says on which addresses node ports answer in this mode, out of those chosen for any mode and those that the node has;
	// nil: on those chosen.
	FitNodePorts func(chosen service.NodeAddresses, own []netip.Addr) service.NodeAddresses
	// MinSyncPeriod and SyncPeriod are as in Options.
	MinSyncPeriod, SyncPeriod time.Duration
	// DrainTimeout is how long connections that need this mode are waited for when it is left, at most.
	DrainTimeout time.Duration
}

// side is what one Mode has in the kernel. It belongs to Proxier.Run.
type side struct {
	Mode
	table   *service.Table    // as last built, fit for the mode
	base    *service.Table    // as the builder made that
	dirty   service.PortSet   // differs from what the Backend last wrote; nil: everything may
	written *service.Table    // as the Backend last wrote it; nil: never yet
	due     time.Time         // before which there is nothing to do but to sync
	fails   int               // in a row, of what is done when it is due
	leaving                   // when another Mode is in force
	drift   []string          // what the next sync repairs
	said    map[string]string // what has been logged of looking at it, as in Proxier
	// reported: Options.Switched has been told that it cannot be switched to.
	reported bool
	// unwritten are service ports of written that are not in the kernel.
	unwritten unwritten
}

func newSide(m Mode) *side { return &side{Mode: m, said: map[string]string{}} }

// close ends the use of a side whose mode another one serves from now on.
func (s *side) close() {
	if c, is := s.Backend.(io.Closer); is {
		_ = c.Close() // of sockets that were read from
	}
}

// leaving is how far a side is on its way out.
type leaving struct {
	until time.Time // when its connections have had their time; zero: it has not begun
	kept  bool      // connections need it, so it is kept in step
	gone  bool      // no connection needs it
}

// take has the side follow what has been built, which differs from the last time in the ports named by dirty.
func (s *side) take(base *service.Table, own []netip.Addr, dirty service.PortSet) {
	if s.dirty != nil {
		for name := range dirty {
			s.dirty.Add(name)
		}
	}
	s.unwritten.changed(dirty)
	if s.FitNodePorts == nil {
		s.table = base
		return
	}
	ports := s.FitNodePorts(base.NodePorts, own)
	if s.base == base && s.table.NodePorts.Equal(ports) {
		return
	}
	fit := *base
	fit.NodePorts = ports
	s.base, s.table = base, &fit
}

func (s *side) upToDate() bool {
	return s.dirty != nil && s.table == s.written && !s.unwritten.isDue()
}

// sync brings the kernel up to date. What fails stays dirty. That some service ports could not be written is no error. But if the first sync
// can write none, something is wrong with the mode as a whole: then it must not pass for one that serves, or what has served until now
// would be removed.
func (s *side) sync(ctx context.Context) error {
	left, err := partial(ctx, s.Backend.Sync(ctx, s.table, s.dirty))
	if err != nil {
		return err
	}
	if s.written == nil && complete(left, s.table) {
		return fmt.Errorf("none of the service ports could be written: %s", left.Error()) // no service.Unwritten, as it is about the mode
	}
	s.written, s.dirty = s.table, service.PortSet{}
	s.unwritten.note(left, s.SyncPeriod)
	for name := range left {
		s.dirty.Add(name)
	}
	return nil
}

// later puts off what has failed, longer each time.
func (s *side) later() {
	s.fails++
	s.due = time.Now().Add(backoff(s.fails, s.SyncPeriod))
}

// backoff is how long to wait after some failures in a row.
func backoff(failures int, most time.Duration) time.Duration {
	wait := firstRetry
	for range failures - 1 {
		if wait *= 2; wait >= most {
			return most
		}
	}
	return min(wait, most)
}
