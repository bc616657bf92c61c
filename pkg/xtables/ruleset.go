package xtables

import (
	"context"
	"maps"
	"slices"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// Owner says what in the kernel belongs to whom. What is an owner's may be deleted.
type Owner struct {
	// Prefix begins the names of all chains of the owner. No owner's prefix may begin another's.
	Prefix string
	// Ours reports which of the names that begin with Prefix the owner gives to chains. Somebody else may use the prefix too.
	Ours func(name string) bool
	// Jumps lists the ways into the owner's chains. There is one only from each built-in chain, so that their order cannot
	// matter.
	Jumps []Jump
	// Before begins the names of another owner's chains. A built-in chain may lead to those only after it has led to this owner's.
	// Empty: it does not matter.
	Before string
	// Counted begins the names of those of the owner's chains whose packets are counted; see Ruleset.Packets. Empty: none are.
	Counted string
	// Keeps reports whether the rules of a chain are wanted as text when the kernel is read; see Ruleset.Text. Nil: none are.
	Keeps func(table, chain string) bool
}

// Options are the settings of a Ruleset.
type Options struct {
	Family  service.Family
	Variant Variant
	Owner   Owner
	// Open finds the kernel. Nil: Open of this package, which finds the iptables programs.
	Open Opener
}

// Ruleset is all that an owner has in the packet filter of one family. It is for one goroutine at a time.
//
// It remembers what it wrote last. After an error, and after Forget, that is not known, and the kernel has to be read before
// anything can be planned. Replace does all of that in one.
type Ruleset struct {
	family  service.Family
	variant Variant
	owner   Owner
	open    Opener
	kernel  Kernel // nil until it is needed

	written map[string]checksums // by table; nil where it is not known
	counts  counts
	packets packets
	found   *saved              // what Read found; nil once the jumps are as they should be
	stuck   map[string]struct{} // chains that could not be removed, and have been named
	alone   bool                // the other variant has been looked at
	watch   watch
}

// New returns a Ruleset. It touches nothing before its first call, and finds the iptables programs then: where they are
// missing, every call says so until somebody installs them.
func New(o Options) *Ruleset {
	r := &Ruleset{family: o.Family, variant: o.Variant, owner: o.Owner, open: o.Open, stuck: map[string]struct{}{}}
	if r.open == nil {
		r.open = Open
	}
	return r
}

func (r *Ruleset) prepare(ctx context.Context) error {
	if r.kernel != nil {
		return nil
	}
	k, err := r.open(ctx, r.family, r.variant)
	if err != nil {
		return err
	}
	r.kernel = k
	klog.FromContext(ctx).Info("Using iptables", "variant", k.Variant())
	return nil
}

// RandomFully reports whether MASQUERADE can choose ports at random; see Kernel.
func (r *Ruleset) RandomFully(ctx context.Context) (bool, error) {
	if err := r.prepare(ctx); err != nil {
		return false, err
	}
	return r.kernel.RandomFully(), nil
}

// Read asks the kernel what it holds. The next Write puts the jumps right too.
func (r *Ruleset) Read(ctx context.Context) error {
	r.Forget()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	return r.watch.reads(ctx, r.kernel, func() error {
		have, err := readKernel(ctx, r.kernel, r.owner)
		if err != nil {
			return err
		}
		r.packets.read(have.packets)
		r.found, r.written = have, have.chains
		r.counts.read(have.chains)
		return nil
	})
}

// Forget drops what was last written, so that Verify finds nothing until the kernel has been read again.
func (r *Ruleset) Forget() { r.found, r.written, r.watch.stamp = nil, nil, unwatched }

// Text has the rules of those chains of one table that the owner keeps, as the kernel held them when it was last read, without "-A CHAIN". It
// is there between Read and Write.
func (r *Ruleset) Text(table string) map[string][]string {
	if r.found == nil {
		return nil
	}
	return r.found.texts[table]
}

// Held lists the chains that one table has.
func (r *Ruleset) Held(table string) []string {
	return slices.Collect(maps.Keys(r.written[table]))
}
