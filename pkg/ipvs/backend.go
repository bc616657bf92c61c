package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Options are the settings of a Backend.
type Options struct {
	Family service.Family
	// Variant of the iptables programs.
	Variant xtables.Variant
	// MasqueradeBit and MarkBit are bits of the packet mark, 0 to 31, that no other program uses: one asks for masquerading, the
	// other leads packets to IPVS.
	MasqueradeBit, MarkBit int
	// DropInvalid drops forwarded packets that conntrack finds INVALID.
	DropInvalid bool
	// Scheduler is for Services that do not choose one.
	Scheduler string
	// Drain is how long an endpoint that is gone keeps its standing connections, at most.
	Drain time.Duration
	// Excluded virtual servers are never deleted, even if they bear our mark.
	Excluded []netip.Prefix
	// StrictARP makes the node answer ARP only on the interface that has the address.
	StrictARP bool
	// Counters: the traffic of each service port is counted; see TakeTraffic.
	Counters bool
	// Timeouts of the kernel's connections; 0: as they are.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// Events tells a Service's owner what is wrong; nil: nobody is told.
	Events func(service types.NamespacedName, reason, message string)
}

// kernel is all that the Backend changes in it.
type kernel struct {
	servers     servers
	connections connections
	sets        sets
	routes      routes
	rules       rules
	// tune sets what IPVS needs of the kernel's settings.
	tune func(context.Context) error
	// probe says whether there is an IPVS at all. It changes nothing but that the kernel may load it.
	probe func() error
	// present says the same without that.
	present func() bool
	now     func() time.Time
}

// rules are the chains of ours.
type rules interface {
	// Replace makes the kernel hold just these chains, by table, children first, and the jumps to them.
	Replace(ctx context.Context, chains map[string][]xtables.Chain) error
	Verify(ctx context.Context) (drift []string, err error)
	Remove(ctx context.Context) error
	// Unhook takes jumps out, and leaves the chains.
	Unhook(ctx context.Context, jumps ...xtables.Jump) error
	// RandomFully reports whether MASQUERADE can choose ports at random.
	RandomFully(ctx context.Context) (bool, error)
}

// Backend writes one family's virtual servers and what belongs to them. It is for one goroutine at a time.
type Backend struct {
	options Options
	kernel  kernel

	// What the last Sync wrote. table is nil where that is not known, and then the kernel has to be read first.
	table *service.Table
	held  held
	// What the last Table says, by where.
	frontends *frontends
	wishes    map[key]*wish
	aliases   aliases
	// withoutAlias are the frontends that need one which another has.
	withoutAlias map[key]struct{}
	neighbors    service.Neighbors
	// failing are the keys at which something could not be written: each Sync tries again.
	failing map[key]*failure
	// unpaired are the pods that the kernel does not let reach themselves, unopened the Services on whose health load balancers cannot ask.
	unpaired map[netip.Addr]error
	unopened map[types.NamespacedName]error
	// lacking are the sets that cannot be made, as the kernel does not have their type, and why.
	lacking        [setCount]error
	lookedForTypes time.Time
	// leftOut are the ports that are not served, as their Service would need too many set entries.
	leftOut map[types.NamespacedName]service.PortSet
	// strayRoutes and strayPairs are those that the kernel does not give up.
	strayRoutes, strayPairs map[netip.Addr]struct{}
	users                   map[netip.Addr]int // how many virtual servers need a route
	// draining has the deadline of each real server that is kept for its standing connections.
	draining map[key]map[netip.AddrPort]time.Time
	// refusing says until when clients of a deleted frontend are refused, whose connections were cut.
	refusing map[key]time.Time
	// lastWishes are those of before the kernel was read, until all has been written again.
	lastWishes map[key]*wish

	absent   map[string]struct{} // schedulers that the kernel does not have
	declined map[key]declined    // schedulers that it does not give a virtual server

	said    map[string]struct{} // what has been logged, and need not be said again; messages without any names of the cluster's
	notices notices
	round   []check       // what the current round of Verify has left to do
	credit  time.Duration // how long Verify may look at it

	traffic traffic
}

// held is what the kernel holds of ours.
type held struct {
	servers  map[key]*heldServer
	contents contents
	routes   map[netip.Addr]struct{}
}

// heldServer is a virtual server in the kernel. Real servers with weight 0 take no new connections and go when they have ended.
type heldServer struct {
	virtualServer
	real map[netip.AddrPort]uint16 // their weights
}

// takesConnections reports whether there is a real server for new connections.
func (h *heldServer) takesConnections() bool {
	for _, weight := range h.real {
		if weight > 0 {
			return true
		}
	}
	return false
}

// New returns a Backend. It touches nothing before its first call.
func New(options Options) *Backend {
	return newBackend(options, newKernel(options))
}

// newKernel is the kernel of the network namespace that the Backend is used in.
func newKernel(o Options) kernel {
	servers := newServers(o.Family)
	return kernel{
		servers:     servers,
		connections: kernelConnections{},
		sets:        newSets(o.Family),
		routes:      newRoutes(o.Family, 1<<o.MarkBit),
		rules:       xtables.New(xtables.Options{Family: o.Family, Variant: o.Variant, Owner: owner}),
		tune: func(ctx context.Context) error {
			return errors.Join(applySysctls(ctx, o.StrictARP), servers.setTimeouts(o.TCPTimeout, o.TCPFinTimeout, o.UDPTimeout))
		},
		probe:   Probe,
		present: Present,
		now:     time.Now,
	}
}

func newBackend(options Options, k kernel) *Backend {
	return &Backend{options: options, kernel: k, traffic: traffic{off: !options.Counters}, absent: map[string]struct{}{}, said: map[string]struct{}{}, notices: notices{}}
}

// Sync makes the kernel hold what table says. dirty names the service ports that may differ from the last successful Sync; with nil,
// and after an error, the kernel is read first. What the kernel refuses of one service port does not keep the others from being
// written, nor the kernel from being known: the error is a service.Unwritten then, and each call tries those service ports again. If it refuses
// all of them when everything is written, that is an error like others.
//
// Node ports answer on the addresses that table lists: "all" has to be spelled out.
func (b *Backend) Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var err error
	all := dirty == nil || b.table == nil || !table.SameNode(b.table) || b.typesAreThere()
	if all {
		err = b.syncAll(ctx, table)
	} else {
		err = b.syncPorts(ctx, table, dirty)
	}
	if err != nil {
		b.table = nil
		return err
	}
	b.table = table
	b.logStrays(ctx)
	unwritten := b.unwritten(table)
	if all && b.nothing(table, unwritten) {
		b.table = nil
		return fmt.Errorf("no service port can be written: %s", unwritten.Error()) // not as a service.Unwritten: the node serves nothing
	}
	if len(unwritten) == 0 {
		return nil
	}
	return unwritten
}

// nothing reports whether no service port of a Table is written, though there are some to write.
func (b *Backend) nothing(table *service.Table, unwritten service.Unwritten) bool {
	ports := b.within(table.Ports)
	return len(ports) > 0 && !slices.ContainsFunc(ports, func(p *service.Port) bool { return unwritten[p.Name] == nil })
}

// Retire removes the endpoints that are gone and whose connections have ended, or have had their time. It looks at the virtual servers
// with such endpoints alone, at those that could not be written, and at deleted ones whose clients have been refused for long enough. What
// the kernel refuses is an error of the next Sync.
func (b *Backend) Retire(ctx context.Context) error {
	keys := set(b.refusedLongEnough())
	if b.table == nil || len(b.draining)+len(b.failing)+len(keys) == 0 {
		return nil
	}
	for k := range b.draining {
		keys[k] = struct{}{}
	}
	before := len(b.failing)
	if err := b.apply(ctx, keys, false); err != nil {
		b.table = nil
		return err
	}
	b.logStrays(ctx)
	const message = "The kernel refuses to delete drained endpoints, trying again"
	switch unwritten := b.unwritten(b.table); {
	case len(unwritten) == 0:
		delete(b.said, message)
	case len(b.failing) > before:
		b.once(ctx, message, "reason", unwritten.Error())
	}
	return nil
}

// logStrays logs that the kernel does not give up what no Service needs, as long as that lasts.
func (b *Backend) logStrays(ctx context.Context) {
	const message = "The kernel refuses to delete what no Service needs any more, trying again"
	for k, f := range b.failing {
		if f.port == nil {
			b.once(ctx, message, "frontend", k.String(), "reason", f.err.Error())
			return
		}
	}
	delete(b.said, message)
}

// once logs a message unless it has been logged before.
func (b *Backend) once(ctx context.Context, message string, values ...any) {
	if _, said := b.said[message]; said {
		return
	}
	b.said[message] = struct{}{}
	klog.FromContext(ctx).Info(message, values...)
}

// some returns the first few of many errors: they are mostly alike.
func some(errs []error) error {
	const shown = 5
	if len(errs) > shown {
		errs = append(errs[:shown:shown], errors.New("and more"))
	}
	return errors.Join(errs...)
}

// Close gives up what the Backend has open. What it has written stays.
func (b *Backend) Close() error {
	b.kernel.servers.Close()
	return nil
}
