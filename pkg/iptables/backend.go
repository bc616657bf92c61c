package iptables

import (
	"context"

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
}

// Backend writes one family's rules. It is for one goroutine at a time.
type Backend struct {
	rules  *xtables.Ruleset
	layout layout

	// What the last Sync wrote. table is nil where that is not known, and then the kernel has to be read first.
	table     *service.Table
	refused   []refusal
	neighbors service.Neighbors
	// The chains of the nat table that belong to no service port.
	postrouting, dispatch []string
}

// New returns a Backend. It touches nothing before its first call; see xtables.New.
func New(options Options) *Backend { return newBackend(options, xtables.Open) }

func newBackend(options Options, open xtables.Opener) *Backend {
	return &Backend{
		rules: xtables.New(xtables.Options{
			Family:  options.Family,
			Variant: options.Variant,
			Owner:   xtables.Owner{Prefix: prefixAll, Ours: ours.MatchString, Jumps: jumps},
			Open:    open,
		}),
		layout: layout{family: options.Family, mark: 1 << options.MasqueradeBit, dropInvalid: options.DropInvalid},
	}
}

// Sync makes the rules say what table says. dirty names the service ports that may differ from the last successful Sync;
// with nil, and after an error, the kernel is read first and everything that differs is written. After an error every
// service port is served by its old rules or by its new ones.
func (b *Backend) Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	var err error
	if b.layout.randomPort, err = b.rules.RandomFully(ctx); err != nil {
		return err
	}
	if dirty == nil || b.table == nil || !table.SameNode(b.table) {
		err = b.syncAll(ctx, table)
	} else {
		err = b.syncPorts(ctx, table, dirty)
	}
	if err != nil {
		b.table = nil
		return err
	}
	b.table = table
	return nil
}

// Verify compares the kernel's rules with what the last Sync wrote, and names what differs. It finds nothing while the last Sync
// has failed: the next one reads the kernel anyway. See xtables.Ruleset for what it removes.
func (b *Backend) Verify(ctx context.Context) (drift []string, err error) { return b.rules.Verify(ctx) }

// Remove deletes every chain of ours, and every jump to one, also those of a process that is gone.
func (b *Backend) Remove(ctx context.Context) error {
	b.table = nil
	return b.rules.Remove(ctx)
}
