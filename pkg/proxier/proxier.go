// Package proxier decides when the kernel is brought up to date. A Proxier takes in objects, one IP family of them, and calls
// its Backend: not before every object that exists has been seen, at once when something changes after a quiet time, and at
// most once in MinSyncPeriod when changes keep coming. What could not be written is kept and tried again.
package proxier

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
)

// Options are the settings of a Proxier.
type Options struct {
	// MinSyncPeriod is the least time between the end of one sync and the start of the next.
	MinSyncPeriod time.Duration
	// SyncPeriod is how often the kernel is compared with what it should hold. It also bounds the wait after an error.
	SyncPeriod time.Duration
	// NodePorts chooses the addresses that node ports answer on, out of those that the node has and those that its Node object
	// names first; nil: all.
	NodePorts func(own, primary []netip.Addr) service.NodeAddresses
	// PodsOfNode tells pods by what the own Node says; nil: the Builder knows already.
	PodsOfNode func(node.OwnNode) service.LocalTraffic
	// Followers are told after each successful sync, in order.
	Followers []Follower
}

// What errors are logged under.
const (
	syncing   = "Could not sync the rules; what is in place stays, and it will be tried again"
	verifying = "Could not compare the rules in the kernel with what they should be"
	following = "Could not do all that follows a sync; it will be tried again"
	retiring  = "Could not remove endpoints whose connections have ended; it will be tried again"
)

// firstRetry is how long after the first error the next attempt is made; the wait doubles with each further error.
const firstRetry = time.Second

// Proxier keeps one IP family of the node's kernel in step with the cluster.
type Proxier struct {
	options Options
	backend Backend

	mu      sync.Mutex
	builder *service.Builder
	listed  bool // every object that existed at the start has been seen
	own     []netip.Addr
	node    node.OwnNode

	wake   chan struct{}
	behind atomic.Int64 // since when a change waits to be written, as Unix time in nanoseconds; 0: none does

	// What follows belongs to Run alone.
	table    *service.Table    // as last built
	dirty    service.PortSet   // differs from what the backend last wrote; nil: everything may
	written  *service.Table    // as the backend last wrote it
	synced   bool              // the backend has written everything once
	failures int               // in a row
	said     map[string]string // what has been logged and still holds, by what was being done
}

// New returns a Proxier for the objects that builder turns into Tables.
func New(builder *service.Builder, backend Backend, options Options) *Proxier {
	return &Proxier{options: options, backend: backend, builder: builder, wake: make(chan struct{}, 1), said: map[string]string{}}
}

// SetService takes in a new or changed Service.
func (p *Proxier) SetService(svc *corev1.Service) {
	p.change(func(b *service.Builder) { b.SetService(svc) })
}

// DeleteService forgets a Service.
func (p *Proxier) DeleteService(namespace, name string) {
	p.change(func(b *service.Builder) { b.DeleteService(namespace, name) })
}

// SetSlice takes in a new or changed EndpointSlice.
func (p *Proxier) SetSlice(slice *discoveryv1.EndpointSlice) {
	p.change(func(b *service.Builder) { b.SetSlice(slice) })
}

// DeleteSlice forgets an EndpointSlice.
func (p *Proxier) DeleteSlice(namespace, name string) {
	p.change(func(b *service.Builder) { b.DeleteSlice(namespace, name) })
}

// SetNode takes in the own Node.
func (p *Proxier) SetNode(object *corev1.Node) {
	p.change(func(b *service.Builder) {
		p.node = node.Read(object)
		b.SetNode(service.OwnNode{Zone: p.node.Zone, Addresses: p.node.Addresses})
		if p.options.PodsOfNode != nil {
			b.SetPods(p.options.PodsOfNode(p.node))
		}
		p.chooseNodePorts(b)
	})
}

// SetAddresses takes in the addresses that the node has.
func (p *Proxier) SetAddresses(own []netip.Addr) {
	p.change(func(b *service.Builder) {
		p.own = own
		p.chooseNodePorts(b)
	})
}

func (p *Proxier) chooseNodePorts(b *service.Builder) {
	if p.options.NodePorts != nil {
		b.SetNodePorts(p.options.NodePorts(p.own, p.node.Primary()))
	}
}

// Listed says that every object that existed at the start has been handed over. Nothing is written before that: a sync of
// half the objects would take the other half's rules away.
func (p *Proxier) Listed() {
	p.mu.Lock()
	p.listed = true
	p.mu.Unlock()
	p.signal()
}

func (p *Proxier) change(apply func(*service.Builder)) {
	p.mu.Lock()
	apply(p.builder)
	signal := p.listed && p.builder.Pending()
	p.mu.Unlock()
	if signal {
		p.signal()
	}
}

// Healthy reports whether the kernel keeps up with the cluster: no change waits for longer than two sync periods. It is what
// kube-proxy calls healthy.
func (p *Proxier) Healthy() bool {
	since := p.behind.Load()
	return since == 0 || time.Since(time.Unix(0, since)) < 2*p.options.SyncPeriod
}

func (p *Proxier) signal() {
	p.behind.CompareAndSwap(0, time.Now().UnixNano())
	select {
	case p.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// Run syncs until ctx ends. The rules stay: standing and new connections go on while nobody is watching.
func (p *Proxier) Run(ctx context.Context) {
	verify := time.NewTicker(p.options.SyncPeriod)
	defer verify.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			if !p.sync(ctx) {
				continue // nothing was written, so the next change need not wait
			}
		case <-verify.C:
			if p.failures > 0 || !p.synced {
				continue
			}
			if !p.retired(ctx) || p.drifted(ctx) {
				p.dirty = nil
			}
			if !p.sync(ctx) {
				continue
			}
		}
		p.rest(ctx)
	}
}

// rest waits as long as the next sync has to stay away from the last one.
func (p *Proxier) rest(ctx context.Context) {
	wait := p.options.MinSyncPeriod
	if p.failures > 0 {
		wait = max(wait, p.backoff())
		p.signal()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p *Proxier) backoff() time.Duration {
	wait := firstRetry
	for range p.failures - 1 {
		if wait *= 2; wait >= p.options.SyncPeriod {
			return p.options.SyncPeriod
		}
	}
	return min(wait, p.options.SyncPeriod)
}

// sync brings the kernel up to date, and says whether there was anything to do. What fails stays dirty.
func (p *Proxier) sync(ctx context.Context) bool {
	logger := klog.FromContext(ctx)
	p.build(logger)
	if p.dirty != nil && p.table == p.written {
		if p.said[following] != "" {
			p.follow(ctx, service.PortSet{})
		}
		p.behind.Store(0)
		return false
	}
	start := time.Now()
	if err := p.backend.Sync(ctx, p.table, p.dirty); err != nil {
		if ctx.Err() != nil {
			return true
		}
		p.failures++
		p.once(logger, syncing, err)
		logger.V(4).Info("Sync failed", "failures", p.failures)
		return true
	}
	p.behind.Store(0)
	p.recovered(logger)
	dirty := p.dirty
	p.dirty = service.PortSet{}
	p.follow(ctx, dirty)
	if !p.synced {
		p.synced = true
		logger.Info("Synced for the first time", "ports", len(p.table.Ports), "took", time.Since(start))
		return true
	}
	logger.V(2).Info("Synced", "ports", len(p.table.Ports), "changed", len(dirty), "took", time.Since(start))
	return true
}

// follow tells the followers what the kernel holds now.
func (p *Proxier) follow(ctx context.Context, dirty service.PortSet) {
	var failed []error
	for _, f := range p.options.Followers {
		failed = append(failed, f.Synced(ctx, p.written, p.table, dirty))
	}
	p.written = p.table
	if err := errors.Join(failed...); err != nil {
		p.once(klog.FromContext(ctx), following, err)
		return
	}
	delete(p.said, following)
}

// build takes the changes over from the builder.
func (p *Proxier) build(logger klog.Logger) {
	p.mu.Lock()
	table, dirty, problems := p.builder.Build()
	p.mu.Unlock()
	p.table = table
	if p.dirty != nil {
		for name := range dirty {
			p.dirty.Add(name)
		}
	}
	for _, problem := range problems {
		logger.Info("Cannot serve all of an object", "object", problem.Object, "problem", problem.What, "mend", problem.Mend)
	}
}

// retired lets the endpoints go that are kept for their connections, and reports whether that went well.
func (p *Proxier) retired(ctx context.Context) bool {
	r, retires := p.backend.(Retirer)
	if !retires {
		return true
	}
	if err := r.Retire(ctx); err != nil {
		if ctx.Err() != nil {
			return false
		}
		p.once(klog.FromContext(ctx), retiring, err)
		return false
	}
	delete(p.said, retiring)
	return true
}

// drifted compares the kernel with what it should hold, and says what somebody else has changed.
func (p *Proxier) drifted(ctx context.Context) bool {
	const shown = 5
	logger := klog.FromContext(ctx)
	drift, err := p.backend.Verify(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		p.once(logger, verifying, err)
		return false
	}
	delete(p.said, verifying)
	logger.V(4).Info("Verified", "differences", len(drift))
	if len(drift) > 0 {
		logger.Info("Repairing rules that another program has changed", "differences", len(drift), "first", drift[:min(shown, len(drift))])
	}
	return len(drift) > 0
}

// once logs an error unless the same one has been logged for the same thing since it last went well.
func (p *Proxier) once(logger klog.Logger, doing string, err error) {
	if p.said[doing] == err.Error() {
		return
	}
	p.said[doing] = err.Error()
	logger.Error(err, doing)
}

func (p *Proxier) recovered(logger klog.Logger) {
	if p.failures > 0 {
		logger.Info("Synced again", "failures", p.failures)
	}
	p.failures = 0
	delete(p.said, syncing)
}
