package conntrack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// attempts is how often a dump is tried that the kernel interrupts.
const attempts = 5

// Options are the settings of Flows.
type Options struct {
	Family service.Family
	// NodeAddress reports whether an address is the node's own at this moment. It is asked about flows to a node port that
	// were tried before its rules stood. Without it, those to the addresses that the Table lists are the node's.
	NodeAddress func(netip.Addr) bool
	// UnrepliedTCP deletes the entries of TCP connections that were being opened towards an endpoint that is gone now, so
	// that the client's next attempt, from the same port, reaches another one. Connections that stand are left alone always.
	UnrepliedTCP bool
	// Observe is called after each look at the kernel's table; nil: it is not.
	Observe func(Sweep)
}

// Flows keeps the kernel's connection tracking in step with the rules, in one IP family. The kernel asks the rules about the
// first packet of a flow only, and for UDP a flow lasts as long as packets come: a client that keeps its port would go on to an
// endpoint that is long gone (kubernetes#139628, where that took 13 hours), or of a Service that is gone (kubernetes#141371).
//
// What is deleted is as little as can be: UDP flows through a Service to an endpoint that it does not serve with any more,
// and flows of any protocol that were tried before the rules stood and can come to nothing. Flows to other places, and to
// endpoints that still serve, are never touched. A Service that goes while nobody watches leaves its flows behind.
//
// Flows is for one goroutine at a time. It speaks to the network namespace of the thread that it is called on.
type Flows struct {
	options Options
	kernel  kernel
	left    backlog // what calls that failed have left to do
}

// NewFlows returns Flows. It touches nothing before its first call.
func NewFlows(options Options) *Flows {
	return &Flows{options: options, kernel: netlinkTable{options.Family}, left: newBacklog()}
}

// Synced deletes the flows that changed rules have left behind. The rules were made from was, which is nil at first, and now
// are from is. They differ in the ports named by dirty; nil means that they may differ in any. The kernel's table is read once
// at most, and not at all where the change leaves no flow behind. What an error kept from being done is part of the next call.
func (f *Flows) Synced(ctx context.Context, was, is *service.Table, dirty service.PortSet) error {
	f.left.add(was, is, dirty, f.options.UnrepliedTCP)
	if !f.left.empty() {
		if err := f.sweep(ctx, newJudge(&f.left, is, f.options)); err != nil {
			f.left.bound()
			return fmt.Errorf("delete stale %s flows: %w", f.options.Family, err)
		}
	}
	f.left = newBacklog()
	return nil
}

func (f *Flows) sweep(ctx context.Context, j *judge) error {
	start := time.Now()
	var failed int
	deleted := map[Deleted]int{}
	if f.options.Observe != nil {
		defer func() { f.options.Observe(Sweep{Took: time.Since(start), Deleted: deleted}) }()
	}
	stale, dumpErr := f.find(ctx, j)
	var first error
	for _, s := range stale {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f.kernel.remove(s); err != nil {
			failed++
			first = cmp.Or(first, err)
			continue
		}
		deleted[Deleted{s.protocol, s.reason()}]++
	}
	klog.FromContext(ctx).V(2).Info("Looked for stale flows", "family", f.options.Family, "found", len(stale), "failed", failed)
	if dumpErr != nil {
		return dumpErr
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d: %w", failed, len(stale), first)
	}
	return nil
}

// find reads the kernel's table. If it keeps being interrupted, what the last attempt found is returned with the error: those
// are stale, and the rest can wait for the next call.
func (f *Flows) find(ctx context.Context, j *judge) (stale []flow, err error) {
	for range attempts {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		stale, err = f.kernel.dump(j.only(), j.stale)
		if !errors.Is(err, errInterrupted) {
			break
		}
	}
	if err != nil {
		return stale, fmt.Errorf("read the table: %w", err)
	}
	return stale, nil
}
