package ipvs

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// sheet is a packet filter that keeps what it is told to restore, and holds nothing.
type sheet struct {
	restored bytes.Buffer
	random   bool
}

func (s *sheet) Variant() xtables.Variant                      { return xtables.NFT }
func (s *sheet) Stamp(context.Context) (xtables.Stamp, error)  { return xtables.Stamp{}, nil }
func (s *sheet) RandomFully() bool                             { return s.random }
func (s *sheet) Save(context.Context, io.Writer) error         { return nil }
func (s *sheet) SaveCounters(context.Context, io.Writer) error { return nil }
func (s *sheet) Delete(xtables.Jump) error                     { return nil }
func (s *sheet) Has(xtables.Jump) (bool, error)                { return true, nil }
func (s *sheet) Restore(_ context.Context, b []byte) error     { s.restored.Write(b); return nil }

// rendered is what a node writes into an empty packet filter.
func rendered(t *testing.T, options Options, table *service.Table, random bool, lacking ...setKind) string {
	out := &sheet{random: random}
	f := newFake(options.Family)
	f.noTypes = lacking
	k := f.kernel()
	k.rules = xtables.New(xtables.Options{
		Family: options.Family,
		Owner:  xtables.Owner{Prefix: ChainPrefix, Ours: ours, Jumps: jumps},
		Open:   func(context.Context, service.Family, xtables.Variant) (xtables.Kernel, error) { return out, nil },
	})
	must(t, newBackend(options, k).Sync(t.Context(), table, nil))
	return out.restored.String()
}

func TestRenderedRules(t *testing.T) {
	sources := map[service.Family]string{service.IPv4: "10.244.0.0/16", service.IPv6: "fd00:10:244::/48"}
	node := map[service.Family]string{service.IPv4: "172.30.0.11", service.IPv6: "fd00:30::11"}
	for _, f := range families {
		known := service.LocalTraffic{Sources: netip.MustParsePrefix(sources[f])}
		tests := []struct {
			name    string // of the file
			options Options
			table   service.Table
			random  bool
		}{
			{"pods-by-source", Options{}, service.Table{Pods: known}, true},
			{"pods-by-interface", Options{}, service.Table{Pods: service.LocalTraffic{Interface: "cni0"}}, true},
			{"pods-by-interface-prefix", Options{}, service.Table{Pods: service.LocalTraffic{InterfacePrefix: "veth"}}, true},
			{"pods-unknown", Options{}, service.Table{}, true},
			{"source-address", Options{}, service.Table{Pods: known, MasqueradeAddress: netip.MustParseAddr(node[f])}, true},
			{"drop-invalid", Options{DropInvalid: true}, service.Table{Pods: known}, true},
			{"no-random-ports", Options{}, service.Table{Pods: known}, false},
		}
		for _, test := range tests {
			name := test.name + "-" + f.String()
			t.Run(name, func(t *testing.T) {
				test.options.Family, test.options.MasqueradeBit, test.options.MarkBit = f, 14, 15
				test.table.Family = f
				xtablestest.Golden(t, name+".golden", rendered(t, test.options, &test.table, test.random))
			})
		}
	}
}

// TestRulesDoNotDependOnServices: so they need not be written when Services change.
func TestRulesDoNotDependOnServices(t *testing.T) {
	forBoth(t, func(s *stage) {
		empty, _, _ := s.builder.Build()
		before := rendered(t, s.options, empty, true)
		serveWeb(s)
		s.service("api", []string{"81=30081"}, external(s, "ext"), balancer(s, "office"), externalLocal)
		table, _, _ := s.builder.Build()
		if diff := cmp.Diff(before, rendered(t, s.options, table, true)); diff != "" {
			s.t.Errorf("rules (-without Services +with):\n%s", diff)
		}
	})
}

// TestRulesAreSpelledAsTheyAreSaved: a rule that iptables-save spells otherwise never equals what the kernel holds.
func TestRulesAreSpelledAsTheyAreSaved(t *testing.T) {
	forBoth(t, func(s *stage) {
		table, _, _ := s.builder.Build()
		for line := range strings.Lines(rendered(t, s.options, table, true)) {
			if strings.Contains(line, "  ") || strings.HasSuffix(line, " \n") {
				s.t.Errorf("%q", line)
			}
		}
	})
}
