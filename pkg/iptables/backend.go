package iptables

import (
	"context"
	"slices"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Options are the settings of a Backend.
type Options struct {
	Family  service.Family
	Variant xtables.Variant
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for masquerading. No other program may use it.
	MasqueradeBit int
	// DropInvalid drops forwarded packets that conntrack finds INVALID.
	DropInvalid bool
	// Counters: the connections of each service port are counted; see TakeTraffic.
	Counters bool
	// Before begins the names of the chains of a mode that does not give its new connections away when it is drained: built-in chains
	// lead to ours before they lead to those, whatever order a process that ended in the middle of a switch has left. Empty: there
	// is none.
	Before string
}

// Backend writes one family's rules. It is for one goroutine at a time.
type Backend struct {
	rules  *xtables.Ruleset
	layout layout

	// What the last Sync wrote, with those states of the service ports it left out that it wrote instead. table is nil where that is not known, and then the kernel
	// has to be read first.
	table *service.Table
	// last is what was written last, also after an error since: what a service port was before.
	last      *service.Table
	left      service.Unwritten
	claims    claims
	refused   refused
	now       func() time.Time
	refusals  []refusal
	neighbors service.Neighbors
	// The chains of the nat table that belong to no service port.
	postrouting, dispatch []string
}

// New returns a Backend. It touches nothing before its first call; see xtables.New.
func New(options Options) *Backend { return newBackend(options, xtables.Open) }

func newBackend(options Options, open xtables.Opener) *Backend {
	owner := xtables.Owner{Prefix: prefixAll, Ours: ours.MatchString, Jumps: jumps, Before: options.Before, Keeps: refuses}
	if options.Counters {
		owner.Counted = prefixCount
	}
	return &Backend{
		now:    time.Now,
		rules:  xtables.New(xtables.Options{Family: options.Family, Variant: options.Variant, Owner: owner, Open: open}),
		layout: layout{family: options.Family, mark: 1 << options.MasqueradeBit, dropInvalid: options.DropInvalid, counters: options.Counters},
	}
}

// Sync makes the rules say what table says. dirty names the service ports that may differ from the last successful Sync;
// with nil, and after an error, the kernel is read first and everything that differs is written. After an error every
// service port is served by its old rules or by its new ones. A service.Unwritten names service ports that were left out of a Sync that
// went well otherwise.
func (b *Backend) Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var err error
	if b.layout.randomPort, err = b.rules.RandomFully(ctx); err != nil {
		return err
	}
	before := b.table
	if before == nil || !table.SameNode(before) {
		dirty = nil
	}
	if dirty != nil {
		dirty = withLeft(dirty, b.left)
	}
	want := b.leaveOut(ctx, table, dirty)
	err = b.write(ctx, want, dirty)
	if isRefusal(err) {
		want, err = b.writeRest(ctx, table, want, dirty)
	}
	if err != nil {
		b.table = nil
		return err
	}
	b.table, b.last = want, want
	if len(b.left) > 0 {
		return b.left
	}
	return nil
}

// write writes what may differ from the last Sync.
func (b *Backend) write(ctx context.Context, want *service.Table, dirty service.PortSet) error {
	if dirty == nil {
		return b.syncAll(ctx, want)
	}
	return b.syncPorts(ctx, want, dirty)
}

// Verify compares the kernel's rules with what the last Sync wrote, and names what differs. It finds nothing while the last Sync
// has failed: the next one reads the kernel anyway. See xtables.Ruleset for what it removes.
func (b *Backend) Verify(ctx context.Context) (drift []string, err error) { return b.rules.Verify(ctx) }

// RuleCounts has how many rules of ours there are by table, and how many were written since the last call.
func (b *Backend) RuleCounts() (total, written map[string]int) { return b.rules.RuleCounts() }

// Drain takes the ways into our chains out, so that another mode, which serves already, gets all new connections: first what refuses,
// then what serves, as the two modes need not refuse at the same place. Connections that stand need no rule any more: connection
// tracking knows where they go and what source they have. So none is ever left.
func (b *Backend) Drain(ctx context.Context) (left int, err error) {
	b.table, b.last = nil, nil
	refusing := slices.DeleteFunc(slices.Clone(jumps), func(j xtables.Jump) bool { return j.Table != "filter" })
	return 0, b.rules.Unhook(ctx, append(refusing, jumps...)...)
}

// Remove deletes every chain of ours, and every jump to one, also those of a process that is gone.
func (b *Backend) Remove(ctx context.Context) error {
	b.table, b.last = nil, nil
	return b.rules.Remove(ctx)
}
