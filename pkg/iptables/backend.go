package iptables

import (
	"context"
	"errors"
	"io"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// Options are the settings of a Backend.
type Options struct {
	Family  service.Family
	Variant Variant
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for masquerading. No other program may use it.
	MasqueradeBit int
	// DropInvalid drops forwarded packets that conntrack finds INVALID.
	DropInvalid bool
}

// kernel is the packet filter of one family.
type kernel interface {
	Variant() Variant
	RandomFully() bool
	Save(ctx context.Context, out io.Writer) error
	Restore(ctx context.Context, text []byte) error
	Delete(j jump) error
}

// Backend writes one family's rules. It is for one goroutine at a time.
type Backend struct {
	options Options
	open    func(context.Context, Variant) (kernel, error)
	kernel  kernel // nil until the first call
	layout  layout

	// What the last Sync wrote. table is nil where that is not known, and then the kernel has to be read first.
	table     *service.Table
	written   map[string]checksums // by table
	refused   []refusal
	neighbors neighbors
	// The chains of the nat table that belong to no service port.
	postrouting, dispatch []string

	stuck map[string]struct{} // chains that could not be removed, and have been named
	alone bool                // the other variant has been looked at
}

// New returns a Backend. It touches nothing before its first call, and finds the iptables programs then: where they are
// missing, every call says so until somebody installs them.
func New(options Options) *Backend {
	return &Backend{options: options, stuck: map[string]struct{}{}, open: func(ctx context.Context, v Variant) (kernel, error) {
		return newTool(ctx, options.Family, v)
	}}
}

func (b *Backend) prepare(ctx context.Context) error {
	if b.kernel != nil {
		return nil
	}
	k, err := b.open(ctx, b.options.Variant)
	if err != nil {
		return err
	}
	b.kernel = k
	b.layout = layout{
		family:      b.options.Family,
		mark:        1 << b.options.MasqueradeBit,
		randomPort:  k.RandomFully(),
		dropInvalid: b.options.DropInvalid,
	}
	klog.FromContext(ctx).Info("Using iptables", "variant", k.Variant())
	return nil
}

// Sync makes the rules say what table says. dirty names the service ports that may differ from the last successful Sync;
// with nil, and after an error, the kernel is read first and everything that differs is written. After an error every
// service port is served by its old rules or by its new ones.
func (b *Backend) Sync(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var err error
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

// leaveOther removes what an earlier Fairlead has left in the other variant, once this one serves. A node's variant may have
// changed since: kubelet had not said at that time which one it uses. It is not part of the first sync, which has to be quick.
func (b *Backend) leaveOther(ctx context.Context) {
	if b.alone {
		return
	}
	b.alone = true
	other := Legacy
	if b.kernel.Variant() == Legacy {
		other = NFT
	}
	k, err := b.open(ctx, other)
	if err == nil {
		err = removeAll(ctx, k)
	}
	if err != nil && !errors.Is(err, ErrNotInstalled) {
		klog.FromContext(ctx).Error(err, "Could not look for rules of an earlier Fairlead in the other variant of iptables; 'fairlead cleanup' removes all", "variant", other)
	}
}
