package xtables_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// owner has a prefix, and jumps into three tables.
func owner(prefix string) xtables.Owner {
	return xtables.Owner{
		Prefix: prefix,
		Ours:   regexp.MustCompile(`^` + prefix + `(IN|MARK|OUT|CHECK|X-[0-9a-f]+)$`).MatchString,
		Jumps: []xtables.Jump{
			{Table: "mangle", From: "PREROUTING", To: prefix + "MARK"},
			{Table: "nat", From: "POSTROUTING", Match: "-m mark --mark 0x1000/0x1000", To: prefix + "OUT"},
			{Table: "filter", From: "INPUT", To: prefix + "IN"},
			{Table: "filter", From: "OUTPUT", Match: "-m conntrack --ctstate NEW", To: prefix + "IN"},
		},
	}
}

func chain(name string, rules ...string) xtables.Chain {
	w := xtables.NewChain(name)
	for _, r := range rules {
		w.Rule(r)
	}
	return w.Chain
}

// chains are those of an owner.
func chains(prefix string) map[string][]xtables.Chain {
	return map[string][]xtables.Chain{
		"mangle": {chain(prefix+"MARK", "-d 10.96.0.0/16 -j MARK --set-xmark 0x1000/0x1000")},
		"nat":    {chain(prefix+"OUT", "-j MASQUERADE --random-fully")},
		"filter": {chain(prefix+"CHECK", "-p tcp -m tcp --dport 80 -j ACCEPT"), chain(prefix+"IN", "-i lo -j ACCEPT", "-j "+prefix+"CHECK")},
	}
}

func newRuleset(prefix string, kernels ...*xtablestest.Kernel) *xtables.Ruleset {
	return xtables.New(xtables.Options{Family: service.IPv4, Owner: owner(prefix), Open: xtablestest.Open(kernels...)})
}

// replaced is a Ruleset that has written its chains into a kernel in memory.
func replaced(t *testing.T, prefix string, k *xtablestest.Kernel) *xtables.Ruleset {
	t.Helper()
	r := newRuleset(prefix, k)
	if err := r.Replace(t.Context(), chains(prefix)); err != nil {
		t.Fatal(err)
	}
	return r
}

// apply is somebody else's hand.
func apply(t *testing.T, k *xtablestest.Kernel, text string) {
	t.Helper()
	if err := k.Rules.Restore(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func TestReplaceWritesAllTablesAtOnce(t *testing.T) {
	k := xtablestest.New(xtables.Legacy)
	r := replaced(t, "FLV-", k)
	if len(k.Restores) != 1 {
		t.Errorf("%d restores:\n%s", len(k.Restores), k.TakeRestores())
	}
	want := map[string][]string{
		"mangle PREROUTING": {"-j FLV-MARK"},
		"mangle FLV-MARK":   {"-d 10.96.0.0/16 -j MARK --set-xmark 0x1000/0x1000"},
		"nat POSTROUTING":   {"-m mark --mark 0x1000/0x1000 -j FLV-OUT"},
		"nat FLV-OUT":       {"-j MASQUERADE --random-fully"},
		"filter INPUT":      {"-j FLV-IN"},
		"filter OUTPUT":     {"-m conntrack --ctstate NEW -j FLV-IN"},
		"filter FLV-IN":     {"-i lo -j ACCEPT", "-j FLV-CHECK"},
		"filter FLV-CHECK":  {"-p tcp -m tcp --dport 80 -j ACCEPT"},
	}
	if diff := cmp.Diff(want, allRules(k)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
		t.Errorf("drift %v, %v", drift, err)
	}
}

// allRules lists all chains with rules.
func allRules(k *xtablestest.Kernel) map[string][]string {
	all := map[string][]string{}
	for _, table := range []string{"raw", "mangle", "nat", "filter"} {
		for _, c := range k.Rules.Chains(table) {
			if rules := k.Rules.Rules(table, c); len(rules) > 0 {
				all[table+" "+c] = rules
			}
		}
	}
	return all
}

func TestWhatDiffersIsNamedAndAloneReplaced(t *testing.T) {
	tests := []struct {
		name, damage string
		drift        []string
		written      []string // the lines of the restore
	}{
		{"nothing", "", nil, nil},
		{"a chain emptied", "*mangle\n-F FLV-MARK\nCOMMIT\n", []string{"mangle FLV-MARK: the rules have been changed"},
			[]string{"*mangle", ":FLV-MARK - [0:0]", "-A FLV-MARK -d 10.96.0.0/16 -j MARK --set-xmark 0x1000/0x1000", "COMMIT"}},
		{"a jump with a match gone", "*nat\n-F POSTROUTING\nCOMMIT\n", []string{"nat POSTROUTING: the jump to FLV-OUT is gone"},
			[]string{"*nat", "-I POSTROUTING 1 -m mark --mark 0x1000/0x1000 -j FLV-OUT", "COMMIT"}},
		{"a jump to a chain that stays, which is not ours", "*filter\n-A FORWARD -p tcp -j FLV-IN\nCOMMIT\n", nil,
			[]string{"*filter", "-D FORWARD -p tcp -j FLV-IN", "COMMIT"}},
		{"a chain of an older Fairlead, in a table that is not used any more", "*raw\n:FLV-X-0 - [0:0]\n-A OUTPUT -j FLV-X-0\nCOMMIT\n",
			[]string{"raw FLV-X-0: the chain does not belong there"},
			[]string{"*raw", ":FLV-X-0 - [0:0]", "-D OUTPUT -j FLV-X-0", "-X FLV-X-0", "COMMIT"}},
		{"two tables", "*nat\n-F FLV-OUT\n-F POSTROUTING\n-X FLV-OUT\nCOMMIT\n*mangle\n-A FLV-MARK -j ACCEPT\nCOMMIT\n",
			[]string{"nat FLV-OUT: the chain is gone", "mangle FLV-MARK: the rules have been changed", "nat POSTROUTING: the jump to FLV-OUT is gone"},
			[]string{"*nat", ":FLV-OUT - [0:0]", "-A FLV-OUT -j MASQUERADE --random-fully", "-I POSTROUTING 1 -m mark --mark 0x1000/0x1000 -j FLV-OUT", "COMMIT",
				"*mangle", ":FLV-MARK - [0:0]", "-A FLV-MARK -d 10.96.0.0/16 -j MARK --set-xmark 0x1000/0x1000", "COMMIT"}},
		{"chains and jumps of others", "*filter\n:MINE - [0:0]\n:FLV-OAT - [0:0]\n:FL-IN - [0:0]\n-A MINE -j DROP\n-A INPUT -j FL-IN\n-A INPUT -j FLV-OAT\n-A FLV-OAT -j MINE\nCOMMIT\n", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := xtablestest.New(xtables.Legacy)
			r := replaced(t, "FLV-", k)
			before := k.Rules.String()
			k.TakeRestores()
			apply(t, k, test.damage)
			if test.written == nil {
				before = k.Rules.String()
			}
			drift, err := r.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.drift, drift); diff != "" {
				t.Errorf("drift (-want +got):\n%s", diff)
			}
			if err := r.Replace(t.Context(), chains("FLV-")); err != nil {
				t.Fatal(err)
			}
			if len(k.Restores) > 1 {
				t.Errorf("%d restores", len(k.Restores))
			}
			var written []string
			for line := range strings.Lines(k.TakeRestores()) {
				written = append(written, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(test.written, written); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, k.Rules.String()); diff != "" {
				t.Errorf("rules after the repair (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwnersLiveSideBySide holds that no owner takes another's chains or jumps for its own, whichever comes first.
func TestOwnersLiveSideBySide(t *testing.T) {
	for _, prefixes := range [][2]string{{"FL-", "FLV-"}, {"FLV-", "FL-"}} {
		t.Run(strings.Join(prefixes[:], " before "), func(t *testing.T) {
			k := xtablestest.New(xtables.Legacy)
			stays := replaced(t, prefixes[0], k)
			alone := k.Rules.String()
			goes := replaced(t, prefixes[1], k)
			both := k.Rules.String()
			k.TakeRestores()
			for i, r := range []*xtables.Ruleset{stays, goes} {
				if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
					t.Errorf("%s drift %v, %v", prefixes[i], drift, err)
				}
				if err := r.Replace(t.Context(), chains(prefixes[i])); err != nil {
					t.Fatal(err)
				}
			}
			if text := k.TakeRestores(); text != "" {
				t.Errorf("written although nothing differs:\n%s", text)
			}
			if diff := cmp.Diff(both, k.Rules.String()); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if err := goes.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(alone, k.Rules.String()); diff != "" {
				t.Errorf("rules after one is removed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnOwnerGoesBeforeAnother holds that the order of two owners' jumps is put right, all in one change to a table, and that the
// other owner, who does not mind, leaves it so.
func TestAnOwnerGoesBeforeAnother(t *testing.T) {
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		t.Run(string(variant), func(t *testing.T) {
			k := xtablestest.New(variant)
			o := owner("FL-")
			o.Before = "FLV-"
			first := xtables.New(xtables.Options{Family: service.IPv4, Owner: o, Open: xtablestest.Open(k)})
			replace := func(r *xtables.Ruleset, prefix string) {
				t.Helper()
				if err := r.Replace(t.Context(), chains(prefix)); err != nil {
					t.Fatal(err)
				}
			}
			replace(first, "FL-")
			second := replaced(t, "FLV-", k)
			apply(t, k, "*filter\n-I INPUT 1 -i eth7 -j ACCEPT\nCOMMIT\n") // somebody's, which stays where it is
			drift, err := first.Verify(t.Context())
			if err != nil || len(drift) != len(o.Jumps) || drift[0] != "mangle PREROUTING: the jump to FL-MARK comes after one to FLV-..." {
				t.Errorf("drift %q, %v", drift, err)
			}
			k.TakeRestores()
			replace(first, "FL-")
			if want := 3; len(k.Restores) != 1 || strings.Count(string(k.Restores[0]), "COMMIT\n") != want {
				t.Errorf("not one change for each of %d tables:\n%s", want, k.TakeRestores())
			}
			ordered := k.Rules.String()
			for _, c := range []struct {
				table, chain string
				want         []string
			}{
				{"mangle", "PREROUTING", []string{"-j FL-MARK", "-j FLV-MARK"}},
				{"filter", "INPUT", []string{"-j FL-IN", "-i eth7 -j ACCEPT", "-j FLV-IN"}},
				{"filter", "OUTPUT", []string{"-m conntrack --ctstate NEW -j FL-IN", "-m conntrack --ctstate NEW -j FLV-IN"}},
			} {
				if diff := cmp.Diff(c.want, k.Rules.Rules(c.table, c.chain)); diff != "" {
					t.Errorf("%s %s (-want +got):\n%s", c.table, c.chain, diff)
				}
			}
			for _, r := range []*xtables.Ruleset{first, second} {
				if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
					t.Errorf("drift %q, %v", drift, err)
				}
			}
			replace(second, "FLV-")
			if diff := cmp.Diff(ordered, k.Rules.String()); diff != "" {
				t.Errorf("the other owner has changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestAJumpOnItsWayToTheFrontOutlivesAFailure holds that a change which a stuck chain makes fail loses no jump when it is made again.
func TestAJumpOnItsWayToTheFrontOutlivesAFailure(t *testing.T) {
	k := xtablestest.New(xtables.Legacy)
	o := owner("FL-")
	o.Before = "FLV-"
	r := xtables.New(xtables.Options{Family: service.IPv4, Owner: o, Open: xtablestest.Open(k)})
	if err := r.Replace(t.Context(), chains("FL-")); err != nil {
		t.Fatal(err)
	}
	replaced(t, "FLV-", k)
	apply(t, k, "*filter\n:FL-X-0a - [0:0]\n:THEIRS - [0:0]\n-A THEIRS -j FL-X-0a\nCOMMIT\n")
	if err := r.Replace(t.Context(), chains("FL-")); err != nil {
		t.Fatal(err)
	}
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		if rules := k.Rules.Rules("filter", chain); len(rules) != 2 || !strings.HasSuffix(rules[0], "-j FL-IN") {
			t.Errorf("%s: %q", chain, rules)
		}
	}
}

// unsteady is a Kernel that others change while it is read, which makes that fail.
type unsteady struct {
	*xtablestest.Kernel
	t     *testing.T
	fails int
	moves bool // whether anything has changed by then
}

func (k *unsteady) Save(ctx context.Context, out io.Writer) error {
	if k.fails == 0 {
		return k.Kernel.Save(ctx, out)
	}
	k.fails--
	if k.moves {
		apply(k.t, k.Kernel, fmt.Sprintf("*nat\n:THEIRS-%d - [0:0]\nCOMMIT\n", k.fails))
	}
	if _, err := io.WriteString(out, "*nat\n:FL-OUT - [0:0]\n"); err != nil {
		return err
	}
	return errors.New("set with index 1 in kernel doesn't exist")
}

func TestRulesThatChangeWhileTheyAreReadAreReadAgain(t *testing.T) {
	tests := []struct {
		name  string
		fails int
		moves bool
		want  string
	}{
		{"until they stand still", 3, true, ""},
		{"but not for ever", 1000, true, "set with index 1"},
		{"nor where nothing changes", 1, false, "set with index 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := xtablestest.New(xtables.NFT)
			replaced(t, "FL-", k)
			between := &unsteady{Kernel: k, t: t, fails: test.fails, moves: test.moves}
			r := xtables.New(xtables.Options{Family: service.IPv4, Owner: owner("FL-"), Open: func(context.Context, service.Family, xtables.Variant) (xtables.Kernel, error) {
				return between, nil
			}})
			err := r.Replace(t.Context(), chains("FL-"))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestJumpsOfAnotherReleaseGo(t *testing.T) {
	tests := []struct{ name, left string }{
		{"a jump to a chain that stays", "*nat\n-A POSTROUTING -p tcp -j FL-OUT\nCOMMIT\n"},
		{"a jump to a chain that goes", "*nat\n:FL-X-0a - [0:0]\n-A PREROUTING -j FL-X-0a\nCOMMIT\n"},
		{"a goto to a chain that goes", "*nat\n:FL-X-0a - [0:0]\n-A PREROUTING -g FL-X-0a\nCOMMIT\n"},
		{"a jump to a chain that goes, in the filter table", "*filter\n:FL-X-0a - [0:0]\n-A INPUT -p tcp -j FL-X-0a\nCOMMIT\n"},
	}
	for _, test := range tests {
		for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
			t.Run(fmt.Sprintf("%s, %s", test.name, variant), func(t *testing.T) {
				k := xtablestest.New(variant)
				replaced(t, "FL-", k)
				before := k.Rules.String()
				k.TakeRestores()
				left := test.left
				for i := range manyChains { // so that nft writes in parts
					left = strings.Replace(left, " - [0:0]\n", fmt.Sprintf(" - [0:0]\n:FL-X-%04x - [0:0]\n", i), 1)
				}
				apply(t, k, left)
				replaced(t, "FL-", k)
				if diff := cmp.Diff(before, k.Rules.String()); diff != "" {
					t.Errorf("rules (-before +after):\n%s", diff)
				}
				if inParts := variant == xtables.NFT && strings.Contains(left, ":FL-X"); (len(k.Restores) > 1) != inParts {
					t.Errorf("%d restores", len(k.Restores))
				}
			})
		}
	}
}

// manyChains are more than the nft variant takes at once.
const manyChains = 300

func TestTheNFTVariantLoadsInParts(t *testing.T) {
	k := xtablestest.New(xtables.NFT)
	r := newRuleset("FL-", k)
	all := chains("FL-")
	for i := range manyChains {
		all["nat"] = slices.Insert(all["nat"], 0, chain(fmt.Sprintf("FL-X-%x", i), "-j ACCEPT"))
	}
	if err := r.Replace(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for i, text := range k.Restores {
		if last := i == len(k.Restores)-1; strings.Contains(string(text), "-j FL-OUT") != last {
			t.Errorf("restore %d of %d: the way in has to come when all is there", i+1, len(k.Restores))
		}
	}
	if err := r.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := k.Rules.String(); strings.Contains(text, "FL-") {
		t.Errorf("left after removal:\n%s", text)
	}
}

func TestRulesLeftInTheOtherVariantGo(t *testing.T) {
	old, k := xtablestest.New(xtables.Legacy), xtablestest.New(xtables.NFT)
	replaced(t, "FL-", old)
	r := newRuleset("FL-", k, old)
	if err := r.Replace(t.Context(), chains("FL-")); err != nil {
		t.Fatal(err)
	}
	if old.Saves != 1 {
		t.Error("the other variant has been looked at before this one was verified")
	}
	for range 2 {
		if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
			t.Errorf("drift %v, %v", drift, err)
		}
	}
	if text := old.Rules.String(); strings.Contains(text, "FL-") || old.Saves != 2 {
		t.Errorf("left in the other variant, which was read %d times:\n%s", old.Saves, text)
	}
	if !strings.Contains(k.Rules.String(), "FL-OUT") {
		t.Error("nothing has been written in this one")
	}
}

func TestRemovalIsOfBothVariants(t *testing.T) {
	legacy, nft := xtablestest.New(xtables.Legacy), xtablestest.New(xtables.NFT)
	replaced(t, "FL-", legacy)
	r := replaced(t, "FL-", nft)
	if err := newRuleset("FL-", legacy, nft).Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*xtablestest.Kernel{legacy, nft} {
		if rules := allRules(k); len(rules) > 0 {
			t.Errorf("%s: left: %v", k.As, rules)
		}
	}
	if drift, err := r.Verify(t.Context()); err != nil || len(drift) != 8 {
		t.Errorf("drift of one who does not know: %v, %v", drift, err)
	}
}

func TestRemovalNamesARuleOfOthersThatLeadsIntoOurs(t *testing.T) {
	k := xtablestest.New(xtables.Legacy)
	r := replaced(t, "FL-", k)
	apply(t, k, "*nat\n:KUBE-X - [0:0]\n-A KUBE-X -p tcp -j FL-OUT\nCOMMIT\n")
	err := r.Remove(t.Context())
	if err == nil || !strings.Contains(err.Error(), "KUBE-X") {
		t.Errorf("got %v", err)
	}
	if rules := k.Rules.Rules("nat", "POSTROUTING"); len(rules) > 0 {
		t.Errorf("packets still get in: %v", rules)
	}
}

func TestAForeignRuleIntoAChainThatGoesKeepsNothingElseBack(t *testing.T) {
	for _, leads := range []string{"-j", "-g"} {
		t.Run(leads, func(t *testing.T) { foreignRule(t, leads) })
	}
}

func foreignRule(t *testing.T, leads string) {
	t.Helper()
	k := xtablestest.New(xtables.Legacy)
	r := newRuleset("FL-", k)
	more := chains("FL-")
	more["nat"] = append(more["nat"], chain("FL-X-0", "-j ACCEPT"))
	if err := r.Replace(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	apply(t, k, "*nat\n:MINE - [0:0]\n-A MINE "+leads+" FL-X-0\nCOMMIT\n")
	less := chains("FL-")
	less["mangle"] = []xtables.Chain{chain("FL-MARK", "-j ACCEPT")}
	for round := range 2 {
		if err := r.Replace(t.Context(), less); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
			t.Errorf("round %d: drift %v, %v", round, drift, err)
		}
	}
	if rules := k.Rules.Rules("nat", "FL-X-0"); rules == nil || len(rules) > 0 {
		t.Errorf("the chain has to stay, empty: %v", rules)
	}
	if rules := k.Rules.Rules("mangle", "FL-MARK"); !slices.Equal(rules, []string{"-j ACCEPT"}) {
		t.Errorf("the other table has not been written: %v", rules)
	}
}

func TestAfterAFailureTheNextReplaceRepairs(t *testing.T) {
	k := xtablestest.New(xtables.Legacy)
	k.Fail = 1
	r := newRuleset("FL-", k)
	if err := r.Replace(t.Context(), chains("FL-")); err == nil || !strings.Contains(err.Error(), "the kernel says no") {
		t.Errorf("got %v", err)
	}
	if drift, err := r.Verify(t.Context()); err != nil || drift != nil {
		t.Errorf("there is nothing to compare with, but: %v, %v", drift, err)
	}
	if err := r.Replace(t.Context(), chains("FL-")); err != nil {
		t.Fatal(err)
	}
	if drift, err := r.Verify(t.Context()); err != nil || len(drift) > 0 {
		t.Errorf("drift %v, %v", drift, err)
	}
}

func TestProgramsThatAreMissingAreFoundOnceTheyAreThere(t *testing.T) {
	k := xtablestest.New(xtables.NFT)
	there := false
	r := xtables.New(xtables.Options{Owner: owner("FL-"), Open: func(context.Context, service.Family, xtables.Variant) (xtables.Kernel, error) {
		if !there {
			return nil, xtables.ErrNotInstalled
		}
		return k, nil
	}})
	if _, err := r.RandomFully(t.Context()); err == nil {
		t.Error("no error")
	}
	if err := r.Replace(t.Context(), chains("FL-")); err == nil {
		t.Error("no error")
	}
	there = true
	if random, err := r.RandomFully(t.Context()); err != nil || !random {
		t.Errorf("got %t, %v", random, err)
	}
	if err := r.Replace(t.Context(), chains("FL-")); err != nil {
		t.Error(err)
	}
}
