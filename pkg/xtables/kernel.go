package xtables

import (
	"context"
	"io"

	"github.com/fairlead/fairlead/pkg/service"
)

// Kernel is the packet filter of one IP family, through one Variant.
type Kernel interface {
	// Variant is never Auto.
	Variant() Variant
	// RandomFully reports whether MASQUERADE can choose ports at random, which keeps two connections made at the same moment
	// from getting the same one and losing a packet (kubernetes#56903).
	RandomFully() bool
	// Stamp tells whether the rules of this family may have changed since another one. It costs next to nothing.
	Stamp(ctx context.Context) (Stamp, error)
	// Save writes all rules of all tables, as iptables-save prints them, to out.
	Save(ctx context.Context, out io.Writer) error
	// SaveCounters is Save with the counters of each rule before it: "[packets:bytes] -A ...".
	SaveCounters(ctx context.Context, out io.Writer) error
	// Restore applies text, as iptables-restore --noflush does. Each table in it changes at once or not at all.
	Restore(ctx context.Context, text []byte) error
	// Has reports whether a jump is there. It costs little, however many rules there are.
	Has(j Jump) (bool, error)
	// Delete takes a jump out.
	Delete(j Jump) error
}

// Opener finds the Kernel of a family. It fails with ErrNotInstalled where there is no such variant.
type Opener func(ctx context.Context, f service.Family, v Variant) (Kernel, error)
