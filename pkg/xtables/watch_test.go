package xtables

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// counting is a Kernel that counts how often it is read, and lets somebody else interfere with the next write.
type counting struct {
	Kernel
	saves     int
	asked     int // for jumps
	interfere func()
}

func (c *counting) Save(ctx context.Context, out io.Writer) error {
	c.saves++
	return c.Kernel.Save(ctx, out)
}

func (c *counting) SaveCounters(ctx context.Context, out io.Writer) error {
	c.saves++
	return c.Kernel.SaveCounters(ctx, out)
}

func (c *counting) Has(j Jump) (bool, error) {
	c.asked++
	return c.Kernel.Has(j)
}

func (c *counting) Restore(ctx context.Context, text []byte) error {
	if c.interfere != nil {
		c.interfere()
		c.interfere = nil
	}
	return c.Kernel.Restore(ctx, text)
}

// ownNamespace gives the test's thread a network namespace of its own, which ends with it.
func ownNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v; run the test as root", err)
	}
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "lock"))
}

// rig is a Ruleset of one chain, FL-ONE, in a namespace of its own.
type rig struct {
	*testing.T
	*Ruleset
	kernel  *counting
	program string
}

func newRig(t *testing.T, f service.Family, v Variant) *rig {
	t.Helper()
	ownNamespace(t)
	k, err := Open(t.Context(), f, v)
	if err != nil {
		t.Fatal(err)
	}
	program, err := program(f, v, "")
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t, kernel: &counting{Kernel: k}, program: program}
	g.Ruleset = New(Options{
		Family: f, Variant: v,
		Owner: Owner{
			Prefix: "FL-",
			Ours:   func(string) bool { return true },
			Jumps:  []Jump{{Table: "nat", From: "OUTPUT", To: "FL-ONE"}},
		},
		Open: func(context.Context, service.Family, Variant) (Kernel, error) { return g.kernel, nil },
	})
	g.alone = true // the other variant is no matter here
	if err := g.Replace(t.Context(), map[string][]Chain{"nat": {chain("FL-TWO", "-j RETURN"), chain("FL-ONE", "-j FL-TWO")}}); err != nil {
		t.Fatal(err)
	}
	g.verify(-1, 0) // what making the tables does to the numbers is the kernel's
	g.verify(0, 0)
	return g
}

func chain(name string, rules ...string) Chain {
	w := NewChain(name)
	for _, r := range rules {
		w.Rule(r)
	}
	return w.Chain
}

// verify expects a verification to read the kernel so often, unless saves is less than 0, and to find so many differences.
func (g *rig) verify(saves, drift int) {
	g.Helper()
	g.kernel.saves = 0
	g.watch.spent = 0
	found, err := g.Verify(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	if len(found) != drift {
		g.Errorf("found %q, want %d differences", found, drift)
	}
	if saves >= 0 && g.kernel.saves != saves {
		g.Errorf("the kernel was read %d times, want %d", g.kernel.saves, saves)
	}
}

// write writes one of our chains, with the chains that are to go.
func (g *rig) write(c []Chain, old ...string) {
	g.Helper()
	if err := g.Write(g.Context(), g.Plan("nat", c, old)); err != nil {
		g.Fatal(err)
	}
}

// somebody runs iptables.
func (g *rig) somebody(args string) {
	g.Helper()
	if out, err := exec.Command(g.program, strings.Fields(args)...).CombinedOutput(); err != nil {
		g.Fatalf("iptables %s: %v: %s", args, err, out)
	}
}

func TestVerifyReadsTheKernelOnlyAfterSomebodyElse(t *testing.T) {
	tests := []struct {
		name string
		do   func(g *rig)
	}{
		{"not after a quiet time", func(g *rig) { g.verify(0, 0) }},
		{"not after own changes", func(g *rig) {
			g.write([]Chain{chain("FL-THREE", "-p tcp -j RETURN", "-p udp -j RETURN"), chain("FL-ONE", "-p tcp -j FL-THREE", "-j FL-TWO")})
			g.verify(0, 0)
			g.write([]Chain{chain("FL-ONE", "-j FL-TWO")}, "FL-ONE", "FL-THREE")
			g.verify(0, 0)
		}},
		{"once after a change that is no matter of ours", func(g *rig) {
			g.somebody("-t nat -N THEIRS")
			g.verify(1, 0)
			g.verify(0, 0)
		}},
		{"once after a change that is no matter of ours and one of our own", func(g *rig) {
			g.somebody("-t nat -N THEIRS")
			g.write([]Chain{chain("FL-ONE", "-p tcp -j RETURN", "-j FL-TWO")})
			g.verify(1, 0)
			g.verify(0, 0)
		}},
		{"as long as there is drift", func(g *rig) {
			g.somebody("-t nat -F FL-ONE")
			g.verify(1, 1)
			g.verify(1, 1)
		}},
		{"after drift at the moment of a change of our own", func(g *rig) {
			g.kernel.interfere = func() { g.somebody("-t nat -A FL-TWO -j RETURN") }
			g.write([]Chain{chain("FL-ONE", "-p tcp -j RETURN", "-j FL-TWO")})
			g.verify(1, 1)
		}},
		{"after drift, then a change of our own", func(g *rig) {
			g.somebody("-t nat -D OUTPUT -j FL-ONE")
			g.write([]Chain{chain("FL-ONE", "-p tcp -j RETURN", "-j FL-TWO")})
			g.verify(1, 1)
		}},
	}
	for _, v := range []Variant{Legacy, NFT} {
		for _, f := range []service.Family{service.IPv4, service.IPv6} {
			for _, test := range tests {
				t.Run(string(v)+"/"+f.String()+"/"+test.name, func(t *testing.T) { test.do(newRig(t, f, v)) })
			}
		}
	}
}

func TestSameSizedDriftOnLegacyIsFoundInTheEnd(t *testing.T) {
	g := newRig(t, service.IPv4, Legacy)
	g.write([]Chain{chain("FL-ONE", "-s 192.0.2.1/32 -j FL-TWO")})
	g.verify(0, 0)
	g.somebody("-t nat -R FL-ONE 1 -s 192.0.2.2/32 -j FL-TWO")
	g.verify(0, 0) // nothing shows
	g.watch.read = g.watch.read.Add(-2 * max(fullPeriod, fullShare*g.watch.cost))
	g.verify(1, 1)
}

// A flush shows at once, although reading everything is not due yet.
func TestAFlushIsFoundWithoutReadingEverything(t *testing.T) {
	for _, v := range []Variant{Legacy, NFT} {
		t.Run(string(v), func(t *testing.T) {
			g := newRig(t, service.IPv4, v)
			for step, want := range []int{0, 1} {
				g.somebody([]string{"-t nat -N THEIRS", "-t nat -F OUTPUT"}[step])
				g.kernel.saves, g.watch.spent = 0, 2*burst
				found, err := g.Verify(t.Context())
				if err != nil || len(found) != want || g.kernel.saves > 0 {
					t.Errorf("step %d: found %q, want %d; %v; read %d times", step, found, want, err, g.kernel.saves)
				}
			}
		})
	}
}

// costs replaces what a reading really cost, and is called after each verification.
func (g *rig) costs(cost time.Duration, saves int) {
	if g.kernel.saves > saves {
		g.watch.spent += cost - g.watch.cost
	}
}

func TestVerifyReadsNoMoreThanItsBudgetWhereNothingIsFound(t *testing.T) {
	const (
		calls = 50
		cost  = 3 * budget
	)
	g := newRig(t, service.IPv4, NFT)
	g.kernel.saves = 0
	for range calls {
		g.somebody("-t nat -A OUTPUT -j RETURN")
		before := g.kernel.saves
		if _, err := g.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.costs(cost, before)
	}
	const affordable = (calls*budget + burst) / cost
	if n := time.Duration(g.kernel.saves); n < affordable-1 || n > affordable+1 {
		t.Errorf("the kernel was read %d times in %d calls that could afford %d", n, calls, affordable)
	}
}

func TestWhatOthersDamageIsFoundAtOnceHoweverOften(t *testing.T) {
	g := newRig(t, service.IPv4, NFT)
	for i := range 20 {
		g.somebody("-t nat -F FL-ONE")
		before := g.kernel.saves
		found, err := g.Verify(t.Context())
		if err != nil || len(found) != 1 {
			t.Errorf("damage %d: found %q, %v", i, found, err)
		}
		if g.kernel.saves == before {
			t.Errorf("damage %d: the kernel was not read", i)
		}
		g.write([]Chain{chain("FL-ONE", "-j FL-TWO")})
		// The next reading finds nothing.
		before = g.kernel.saves
		if _, err := g.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.costs(burst-budget, before)
	}
}

// TestOnLegacyATableThatDidNotChangeIsNotReadForItsJumps changes another table than the one with the jump while all may not be read.
func TestOnLegacyATableThatDidNotChangeIsNotReadForItsJumps(t *testing.T) {
	g := newRig(t, service.IPv4, Legacy)
	g.write([]Chain{chain("FL-ONE", "-j ACCEPT")})
	look := func(want int) {
		t.Helper()
		g.watch.spent = 2 * burst
		if found, err := g.Verify(t.Context()); err != nil || len(found) != want {
			t.Errorf("found %q, want %d; %v", found, want, err)
		}
	}
	g.kernel.saves = 0
	for round := range 4 {
		g.somebody("-t filter -A INPUT -p tcp --dport " + strconv.Itoa(100+round) + " -j ACCEPT")
		look(0)
	}
	if g.kernel.asked != 1 || g.kernel.saves != 0 {
		t.Errorf("asked %d times for the jump, want once, and read %d times", g.kernel.asked, g.kernel.saves)
	}
	g.somebody("-t nat -F OUTPUT")
	look(1)
}

func TestADebtOfReadingsIsPaidOffInTheEnd(t *testing.T) {
	w := watch{cost: time.Hour}
	for range 5 {
		w.spend(false)
		w.spend(true)
	}
	calls := 0
	for ; w.spent >= burst; calls++ {
		w.spent = max(0, w.spent-budget)
	}
	for !w.mayCount() {
		if calls++; calls > 10*longestDebt {
			break
		}
	}
	if calls > 3*longestDebt {
		t.Errorf("what readings have cost keeps the next one away for %d calls", calls)
	}
}
