// Package proxier decides when the kernel is brought up to date. A Proxier takes in objects, one IP family of them, and calls
// its Backend: not before every object that exists has been seen, at once when something changes after a quiet time, and at
// most once in MinSyncPeriod when changes keep coming. What could not be written is kept and tried again.
package proxier

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// Mode is the name of the Mode that the Proxier begins with, by the Backend that it is given. FitNodePorts and DrainTimeout are as there.
	Mode         string
	FitNodePorts func(chosen service.NodeAddresses, own []netip.Addr) service.NodeAddresses
	DrainTimeout time.Duration
	// Former are the Modes that an earlier run may have left in the kernel. Once the first sync has gone well they are left as after a
	// switch: what connections need of them stays as long as they do.
	Former []Mode
	// Switched is told when another Mode has come into force, or could not: once for each SetMode. It may be nil.
	Switched func(from, to string, err error)
	// NodePorts chooses the addresses that node ports answer on, out of those that the node has and those that its Node object
	// names first; nil: all.
	NodePorts func(own, primary []netip.Addr) service.NodeAddresses
	// PodsOfNode tells pods by what the own Node says; nil: the Builder knows already.
	PodsOfNode func(node.OwnNode) service.LocalTraffic
	// Followers are told after each successful sync, in order.
	Followers []Follower
	// Events sends an event about a Service to the cluster; nil: none is sent.
	Events func(service types.NamespacedName, reason, message string)
	// Observer is told what is done; nil: nobody is.
	Observer Observer
}

// What errors are logged under.
const (
	syncing   = "Could not sync the rules; what is in place stays, and it will be tried again"
	verifying = "Could not compare the rules in the kernel with what they should be"
	following = "Could not do all that follows a sync; it will be tried again"
	retiring  = "Could not remove endpoints whose connections have ended; it will be tried again"
	switching = "Could not switch the mode; the present one goes on, and it will be tried again"
	draining  = "Could not find out whether connections need the former mode; it stays, and it will be tried again"
	keeping   = "Could not sync the former mode for the connections that need it; it will be tried again"
	removing  = "Could not remove all of another mode; it will be tried again"
)

// needlessFailures is how many syncs in a row have to fail until a family without Services counts as one that nobody needs: the lock of
// iptables may be held at the start.
const needlessFailures = 3

// firstRetry is how long after the first error the next attempt is made; the wait doubles with each further error.
const firstRetry = time.Second

// Proxier keeps one IP family of the node's kernel in step with the cluster.
type Proxier struct {
	options Options

	mu      sync.Mutex
	builder *service.Builder
	listed  bool // every object that existed at the start has been seen
	own     []netip.Addr
	moved   bool // own is not what the last Tables were made with
	node    node.OwnNode
	asked   *Mode     // by SetMode, until Run takes it up
	since   time.Time // when this Proxier was made
	seen    changes   // since the last build

	wake   chan struct{}
	hurry  chan struct{}        // as wake, and ends a rest
	lag    lag                  // of the kernel behind the cluster
	mode   atomic.Pointer[Mode] // in force
	needed atomic.Bool          // by a Service

	// What follows belongs to Run alone.
	present  *side          // serves
	next     *side          // shall serve; nil: the present one goes on
	former   []*side        // go, and serve their connections until then
	turn     *time.Timer    // see schedule
	verify   *time.Ticker   // when the kernel is compared
	followed *service.Table // what followers were last told
	failures int            // in a row, of the present side
	pace     pace
	pending  changes           // what the Table has and the present side has not written yet
	said     map[string]string // what has been logged and still holds, by what was being done
}

// New returns a Proxier for the objects that builder turns into Tables.
func New(builder *service.Builder, backend Backend, options Options) *Proxier {
	if options.Observer == nil {
		options.Observer = unobserved{}
	}
	p := &Proxier{options: options, builder: builder, since: time.Now(), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), said: map[string]string{}}
	p.present = newSide(Mode{
		Name: options.Mode, Backend: backend, FitNodePorts: options.FitNodePorts,
		MinSyncPeriod: options.MinSyncPeriod, SyncPeriod: options.SyncPeriod, DrainTimeout: options.DrainTimeout,
	})
	for _, m := range options.Former {
		p.leave(newSide(m))
	}
	p.mode.Store(new(p.present.Mode))
	return p
}

// SetService takes in a new or changed Service.
func (p *Proxier) SetService(svc *corev1.Service) {
	p.change(func(b *service.Builder) {
		b.SetService(svc)
		p.serviceChanged()
	})
}

// DeleteService forgets a Service.
func (p *Proxier) DeleteService(namespace, name string) {
	p.change(func(b *service.Builder) {
		b.DeleteService(namespace, name)
		p.serviceChanged()
	})
}

// SetSlice takes in a new or changed EndpointSlice.
func (p *Proxier) SetSlice(slice *discoveryv1.EndpointSlice) {
	p.change(func(b *service.Builder) {
		if b.SetSlice(slice) {
			p.endpointsChanged()
			p.seen.trigger(slice, p.since)
		}
	})
}

// DeleteSlice forgets an EndpointSlice.
func (p *Proxier) DeleteSlice(namespace, name string) {
	p.change(func(b *service.Builder) {
		if b.DeleteSlice(namespace, name) {
			p.endpointsChanged() // when that happened, nothing says
		}
	})
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
		p.moved = p.moved || !slices.Equal(p.own, own)
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
	signal := p.listed && (p.builder.Pending() || p.moved)
	p.mu.Unlock()
	if signal {
		p.signal()
	}
}

// Healthy reports whether the kernel keeps up with the cluster: no change waits for longer than two sync periods. It is what
// kube-proxy calls healthy. A family that has no Service yet has nothing to keep up with, whatever its kernel says.
func (p *Proxier) Healthy() bool {
	oldest := p.lag.oldest()
	return oldest.IsZero() || time.Since(oldest) < 2*p.mode.Load().SyncPeriod
}

func (p *Proxier) signal() {
	p.options.Observer.Queued()
	p.lag.changed()
	p.nudge()
}

// nudge has Run look whether there is something to do.
func (p *Proxier) nudge() {
	select {
	case p.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// Run syncs until ctx ends. The rules stay: standing and new connections go on while nobody is watching.
func (p *Proxier) Run(ctx context.Context) {
	p.verify = time.NewTicker(p.present.SyncPeriod)
	defer p.verify.Stop()
	p.turn = time.NewTimer(p.present.SyncPeriod)
	defer p.turn.Stop()
	for {
		p.schedule()
		select {
		case <-ctx.Done():
			return
		case <-p.turn.C:
			wrote := p.present.unwritten.isDue() && p.sync(ctx)
			p.others(ctx)
			if !wrote {
				continue
			}
		case <-p.wake:
			p.setOut()
			wrote := p.sync(ctx)
			p.others(ctx)
			if !wrote {
				continue // nothing was written, so the next change need not wait
			}
		case <-p.verify.C:
			if !p.inspect(ctx) {
				continue
			}
		}
		p.rest(ctx)
	}
}

// sync brings the kernel up to date, and says whether there was anything to do. What fails stays dirty.
func (p *Proxier) sync(ctx context.Context) bool {
	logger := klog.FromContext(ctx)
	p.build(logger)
	s := p.present
	if s.upToDate() {
		if p.said[following] != "" {
			p.follow(ctx, service.PortSet{})
		}
		p.lag.written()
		p.observe(Sync{})
		return false
	}
	start, dirty, first := time.Now(), s.dirty, s.written == nil
	defer p.pace.note(start)
	err := s.sync(ctx)
	p.phase(PhaseWrite, start)
	if err != nil {
		if ctx.Err() != nil {
			return true
		}
		p.failures++
		needless := first && len(s.table.Ports) == 0 && p.failures >= needlessFailures
		if needless {
			p.lag.written()
		}
		p.options.Observer.Failed(Failure{Task: TaskSync, Err: err, InARow: p.failures, Full: dirty == nil, Took: time.Since(start), Needless: needless})
		p.once(logger, syncing, err)
		logger.V(4).Info("Sync failed", "failures", p.failures)
		return true
	}
	p.lag.written()
	p.observe(Sync{Written: true, Full: dirty == nil, Took: time.Since(start), Dirty: len(dirty)})
	p.recovered(logger)
	p.report(ctx, s)
	p.follow(ctx, dirty)
	if first {
		logger.Info("Synced for the first time", "ports", len(s.table.Ports), "took", time.Since(start))
		return true
	}
	logger.V(2).Info("Synced", "ports", len(s.table.Ports), "changed", len(dirty), "took", time.Since(start))
	return true
}

// follow tells the followers what the kernel holds now.
func (p *Proxier) follow(ctx context.Context, dirty service.PortSet) {
	defer p.phase(PhaseFollow, time.Now())
	var failed []error
	held := p.present.unwritten.held(p.followed, p.present.written)
	for _, f := range p.options.Followers {
		failed = append(failed, f.Synced(ctx, p.followed, held, dirty))
	}
	p.followed = held
	if ctx.Err() != nil {
		return // what has been cut off is no failure
	}
	if err := errors.Join(failed...); err != nil {
		p.options.Observer.Failed(Failure{Task: TaskFollow, Err: err, InARow: 1})
		p.once(klog.FromContext(ctx), following, err)
		return
	}
	delete(p.said, following)
}

// build takes the changes over from the builder.
func (p *Proxier) build(logger klog.Logger) {
	defer p.phase(PhaseBuild, time.Now())
	p.mu.Lock()
	table, dirty, problems := p.builder.Build()
	own := p.own
	p.moved = false
	p.pending.add(&p.seen)
	p.lag.taken()
	p.mu.Unlock()
	p.needed.Store(len(table.Ports) > 0)
	for _, s := range p.sides() {
		s.take(table, own, dirty)
	}
	logProblems(logger, problems)
}

// once logs an error unless the same one has been logged for the same thing since it last went well.
func (p *Proxier) once(logger klog.Logger, doing string, err error) {
	once(logger, p.said, doing, err)
}

func once(logger klog.Logger, said map[string]string, doing string, err error) {
	if said[doing] == err.Error() {
		return
	}
	said[doing] = err.Error()
	logger.Error(err, doing)
}

func (p *Proxier) recovered(logger klog.Logger) {
	if p.failures > 0 {
		logger.Info("Synced again", "failures", p.failures)
	}
	p.failures = 0
	delete(p.said, syncing)
}
