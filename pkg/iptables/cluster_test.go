package iptables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/e2e/tracer"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
	"github.com/fairlead/fairlead/pkg/xtables"
	"github.com/fairlead/fairlead/pkg/xtables/xtablestest"
)

// hostile is a set of frontends that somebody could write to make the way to an address long.
type hostile struct {
	name  string
	addrs []netip.Addr
	ports int
}

var victim = netip.MustParseAddr("203.0.113.5")

// beside differs from an address at one bit.
func beside(a netip.Addr, bit int) netip.Addr {
	raw := a.AsSlice()
	raw[bit/8] ^= 1 << (7 - bit%8)
	other, _ := netip.AddrFromSlice(raw)
	return other
}

func hostiles() []hostile {
	near := []netip.Addr{victim}
	for digit := range 6 {
		near = append(near, beside(victim, 1+3*digit))
	}
	for i := range 249 {
		near = append(near, netip.AddrFrom4([4]byte{203, 0, 113, byte(6 + i)}))
	}
	one := []netip.Addr{victim}
	for digit := range 6 {
		for d := range inline + 1 {
			one = append(one, beside(beside(victim, 1+3*digit), 31-d))
		}
	}
	stairs := []netip.Addr{victim}
	for bit := range 32 {
		stairs = append(stairs, beside(victim, bit))
	}
	random := []netip.Addr{victim}
	draw := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		a := victim
		for bit := draw.IntN(32); bit < 32; bit++ {
			if draw.IntN(2) == 0 {
				a = beside(a, bit)
			}
		}
		random = append(random, a)
	}
	return []hostile{
		{"one address beside the victim at each of the first digits, and 250 in its network, with 20 ports", near, 20},
		{"300 ports at one address that others hem in", one, 300},
		{"an address that differs at each bit, with 100 ports", stairs, 100},
		{"random, with 20 ports", random, 20},
	}
}

// entries are the frontends of a hostile set.
func (h hostile) entries() []entry {
	var list []entry
	for _, addr := range h.addrs {
		for port := range h.ports {
			list = append(list, entry{addressKey(addr) + portKey(service.TCP, uint16(443+port)), fmt.Sprintf("-j DNAT --to-destination %s:%d", addr, 443+port)})
		}
	}
	slices.SortFunc(list, compareEntries)
	return slices.CompactFunc(list, func(x, y entry) bool { return x.key == y.key })
}

func TestNoAddressesMakeTheWayToAnotherLong(t *testing.T) {
	const mostRules = 100
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			tree := tree{addressShape(service.IPv4, "-d"), prefixExternalTree}
			root, wanted := newTreeKernel(t, tree, h.entries())
			if got := longestWay(root, chainServices, 0); got > mostRules {
				t.Errorf("a packet walks %d rules for %d entries, want %d at the most", got, len(h.entries()), mostRules)
			} else {
				t.Logf("%d rules at the most for %d entries", got, len(h.entries()))
			}
			if got := depth(root, "nat", chainServices); got > deepest {
				t.Errorf("%d chains below each other, want %d at the most", got, deepest)
			}
			for _, e := range wanted {
				if got := e.found(t, root); got != e.want {
					t.Fatalf("%s goes to %q, want %q", e.to, got, e.want)
				}
			}
		})
	}
}

// asked is a question for a tree and its answer.
type asked struct {
	to   netip.AddrPort
	want string // empty: nothing matches
}

// newTreeKernel renders a tree, and makes questions that it has to answer.
func newTreeKernel(t *testing.T, tree tree, entries []entry) (*xtablestest.Kernel, []asked) {
	t.Helper()
	w := xtables.NewChain(chainServices)
	below := tree.rules(w, slices.Clone(entries))
	names := map[string]bool{}
	text := "*nat\n"
	for _, c := range append(below, w.Chain) {
		if names[c.Name()] || !ours.MatchString(c.Name()) {
			t.Fatalf("the name %s is there twice, or not one of ours", c.Name())
		}
		names[c.Name()] = true
		text += ":" + c.Name() + " - [0:0]\n"
	}
	for _, c := range append(below, w.Chain) {
		text += string(c.Text())
	}
	k := newKernel()
	if err := k.Restore(t.Context(), []byte(text+"-A PREROUTING -j "+chainServices+"\nCOMMIT\n")); err != nil {
		t.Fatal(err)
	}
	var questions []asked
	for i, e := range entries {
		if i%97 == 0 {
			to := netip.MustParseAddrPort(e.action[len("-j DNAT --to-destination "):])
			questions = append(questions, asked{to, to.String()}, asked{netip.AddrPortFrom(to.Addr(), 9999), ""})
		}
	}
	return k, questions
}

func (a asked) found(t *testing.T, k *xtablestest.Kernel) string {
	t.Helper()
	outcomes, err := k.Rules.Trace(tracer.Packet{Protocol: "tcp", Source: netip.MustParseAddrPort("192.0.2.1:1000"), Destination: a.to, InInterface: "eth0"})
	if err != nil || len(outcomes) != 1 {
		t.Fatal(outcomes, err)
	}
	if !outcomes[0].DNAT {
		return ""
	}
	return outcomes[0].Destination.String()
}

// longestWay is how many rules a packet walks at the most from a chain on.
func longestWay(k *xtablestest.Kernel, chain string, level int) int {
	rules := k.Rules.Rules("nat", chain)
	longest := len(rules)
	for i, rule := range rules {
		if to := target(rule); to != "" && level < 20 {
			longest = max(longest, i+1+longestWay(k, to, level+1))
		}
	}
	return longest
}

func TestAnOrdinaryClusterIsDecidedByDigits(t *testing.T) {
	builder := service.NewBuilder(service.Options{Family: service.IPv4})
	for i := range 1000 {
		builder.SetService(servicetest.Service(fmt.Sprintf("service-%d", i), fmt.Sprintf("10.96.%d.%d", i/250, i%250+1), "80"))
	}
	table, _, _ := builder.Build()
	clusterIPs, _, _ := natEntries(table)
	slices.SortFunc(clusterIPs, compareEntries)
	if !byDigit(clusterIPs, 0) {
		t.Error("an ordinary cluster needs more than digits")
	}
}
