package xtables_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// TestJumpsGoBeforeChainsInAnOrderThatLosesNothing holds that no packet is refused while another program serves, and that a table's jumps
// go all at once.
func TestJumpsGoBeforeChainsInAnOrderThatLosesNothing(t *testing.T) {
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		t.Run(string(variant), func(t *testing.T) {
			k := xtablestest.New(variant)
			o := owner("FL-")
			o.Jumps = append(o.Jumps, xtables.Jump{Table: "mangle", From: "OUTPUT", To: "FL-MARK"}, xtables.Jump{Table: "filter", From: "FORWARD", To: "FL-IN"})
			r := xtables.New(xtables.Options{Family: service.IPv4, Owner: o, Open: xtablestest.Open(k)})
			if err := r.Replace(t.Context(), chains("FL-")); err != nil {
				t.Fatal(err)
			}
			k.TakeRestores()
			if err := r.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(k.TakeRestores()) {
				switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
				case "-D":
					chain, _, _ := strings.Cut(rest, " ")
					got = append(got, chain)
				case "-X":
					got = append(got, word)
				case "*filter", "*nat", "*mangle":
					got = append(got, word)
				}
			}
			want := []string{
				"*filter", "INPUT", "OUTPUT", "*nat", "POSTROUTING", "*mangle", "PREROUTING", "OUTPUT", "*filter", "FORWARD",
				"*filter", "-X", "-X", "*mangle", "-X", "*nat", "-X",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the order (-want +got):\n%s", diff)
			}
		})
	}
}
