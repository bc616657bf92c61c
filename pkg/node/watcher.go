package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// An interface that comes brings several addresses, and one that comes and goes in a loop brings hundreds. They are looked
// at when nothing has changed for the quiet time, so that one address waits no longer than that, and at the latest after
// the longest time, so that a loop does not hide what else has changed.
const (
	quietTime   = 50 * time.Millisecond
	longestTime = 500 * time.Millisecond
)

// Watcher follows the node's own addresses while they come and go, so that node ports answer on a new address at once, not
// only when something else happens to be synced. The zero Watcher is ready for use.
type Watcher struct {
	// Except names interfaces whose addresses are not the node's own: a dummy device that holds the virtual addresses of
	// Services. They need not exist.
	Except []string

	kernel kernel // nil: the real one
}

// kernel is where addresses come from.
type kernel interface {
	// subscribe tells of all changes from now on.
	subscribe() (*subscription, error)
	// addresses lists, in any order and perhaps twice, what counts as the node's own.
	addresses() ([]netip.Addr, error)
}

// Run calls changed with the sorted list of the node's usable addresses of both families, once at the start and then
// whenever the list has changed. It calls from its own goroutine, so never twice at a time. Errors that may pass are logged
// and tried again; Run ends with nil when ctx does, or with an error where the kernel refuses to tell of addresses at all.
//
// Every socket is opened by the calling goroutine, so addresses are those of the network namespace of its thread.
func (w *Watcher) Run(ctx context.Context, changed func([]netip.Addr)) error {
	f := follower{kernel: w.kernel, changed: changed, trouble: trouble{logger: klog.FromContext(ctx)}}
	if f.kernel == nil {
		f.kernel = rtnetlink{except: w.Except}
	}
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if hopeless(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.trouble.met(err)):
		}
	}
}

// hopeless reports whether an error stays however often it is tried: a sandbox that does not let this process have such a
// socket.
func hopeless(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) ||
		errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// follower is a run of a Watcher.
type follower struct {
	kernel  kernel
	changed func([]netip.Addr)
	trouble trouble
	told    bool         // changed has been called
	last    []netip.Addr // with what, if told
}

// follow follows the addresses until ctx ends or something fails. It subscribes first and lists then, so that there is no
// moment whose changes are lost.
func (f *follower) follow(ctx context.Context) error {
	s, err := f.kernel.subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to the addresses of the node: %w", err)
	}
	defer s.close()
	if err := f.refresh(); err != nil {
		return err
	}
	works := time.After(slowestRetry)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return fmt.Errorf("wait for changes of the node's addresses: %w", err)
		case <-works:
			f.trouble.over()
		case <-s.changed:
			settle(ctx, s.changed)
			if ctx.Err() != nil {
				return nil
			}
			if err := f.refresh(); err != nil {
				return err
			}
		}
	}
}

// settle waits until there are no more changes for a while, or there have been for too long.
func settle(ctx context.Context, changed <-chan struct{}) {
	longest := time.After(longestTime)
	for {
		select {
		case <-ctx.Done():
			return
		case <-longest:
			return
		case <-time.After(quietTime):
			return
		case <-changed:
		}
	}
}

// refresh lists the addresses, and hands them over if they have changed.
func (f *follower) refresh() error {
	addrs, err := f.kernel.addresses()
	if err != nil {
		return fmt.Errorf("list the addresses of the node: %w", err)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs) // two interfaces may have the same
	if f.told && slices.Equal(addrs, f.last) {
		return nil
	}
	f.told, f.last = true, addrs
	f.changed(slices.Clone(addrs))
	return nil
}
