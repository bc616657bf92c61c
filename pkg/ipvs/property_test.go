package ipvs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// judge is a second reading of what the kernel holds: what becomes of a packet by the sets and virtual servers alone, taken in the order
// of the rules (static.go). Its answer is "drop", "reject" or "pass", or the endpoints that the packet can get to, with "+m" behind those
// that see an address of the node, sorted.
func (f *fake) judge(p service.Packet, pods service.LocalTraffic) []string {
	k := key{p.Protocol, p.Destination}
	if to := p.Destination.Addr(); to.Is4() && to.IsLoopback() && !p.FromNode {
		return []string{"drop"}
	}
	if f.has(setRanged, k) && !f.admits(k, p.Source) {
		return []string{"drop"}
	}
	// What the node sends itself came in by no interface, and its chain asks nobody who is a pod.
	if f.has(setInside, k) && (p.FromNode || pods.Contains(p)) {
		return f.scheduled(alias(k), p, p.FromNode)
	}
	switch {
	case f.has(setDrop, k):
		return []string{"drop"}
	case f.has(setReject, k):
		return []string{"reject"}
	case !f.has(setVirtual, k):
		return []string{"pass"}
	}
	return f.scheduled(k, p, f.has(setMasqAll, k) || f.has(setMasqOutside, k) && !pods.Contains(p))
}

func (f *fake) admits(k key, client netip.Addr) bool {
	for e := range f.sets[definition(f.family, setAdmitted).name].entries {
		if e.key == k && e.client.Contains(client) {
			return true
		}
	}
	return false
}

// scheduled is what IPVS makes of a packet that is led to it.
func (f *fake) scheduled(k key, p service.Packet, masquerade bool) []string {
	if _, is := f.routes[k.address.Addr()]; !is {
		return []string{"led to no route"}
	}
	s := f.servers[k]
	if s == nil {
		return []string{"led to no virtual server"}
	}
	var list []string
	for _, r := range s.real {
		if r.weight == 0 {
			continue
		}
		_, neighbor := f.sets[definition(f.family, setHairpin).name].entries[entry{client: netip.PrefixFrom(r.address.Addr(), r.address.Addr().BitLen())}]
		list = append(list, arrival(r.address, masquerade || neighbor && p.Source == r.address.Addr()))
	}
	if len(list) == 0 {
		return []string{"led to no real server"}
	}
	slices.Sort(list)
	return list
}

func arrival(to netip.AddrPort, masquerade bool) string {
	if masquerade {
		return to.String() + "+m"
	}
	return to.String()
}

// oracle is what has to become of a packet, in the form of judge.
func oracle(table *service.Table, p service.Packet) []string {
	v := table.Route(p)
	if v.Action != service.Forward {
		return []string{v.Action.String()}
	}
	var list []string
	for _, d := range v.Destinations {
		list = append(list, arrival(d.Endpoint, d.Masquerade))
	}
	slices.Sort(list)
	return list
}

// universe is a random cluster, with a node whose listed addresses change.
type universe struct {
	*servicetest.World
	family  service.Family
	rand    *rand.Rand
	builder *service.Builder
	options Options
}

// forEachUniverse runs a test on random clusters of both families, with and without known pods.
func forEachUniverse(t *testing.T, seeds []uint64, test func(t *testing.T, u *universe)) {
	for _, family := range families {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("%s, seed %d", family, seed), func(t *testing.T) {
				t.Parallel()
				world := servicetest.NewWorld(seed, family)
				options := service.Options{Family: family, NodeName: servicetest.Node, MasqueradeAll: seed%3 == 2, Pods: world.Pods()}
				u := &universe{World: world, family: family, rand: rand.New(rand.NewPCG(seed, 2)), builder: service.NewBuilder(options)}
				// Without time to drain, what is held depends on nothing but the last Table.
				u.options = Options{Family: family, MasqueradeBit: 14, MarkBit: 15, Scheduler: "rr"}
				u.setNodePorts(0)
				test(t, u)
			})
		}
	}
}

// setNodePorts lists one, the other, both or none of the node's addresses.
func (u *universe) setNodePorts(choice int) {
	own := []netip.Addr{netip.MustParseAddr("172.30.0.11"), netip.MustParseAddr("172.30.0.111")}
	if u.family == service.IPv6 {
		own = []netip.Addr{netip.MustParseAddr("fd00:30::11"), netip.MustParseAddr("fd00:30::111")}
	}
	u.builder.SetNodePorts(service.NodeAddresses{Listed: [][]netip.Addr{own[:1], own[1:], own, nil}[choice]})
}

// change makes random changes, and one Table of them. In IPVS mode node ports answer on listed addresses only, never on loopback ones.
func (u *universe) change(n int) (*service.Table, service.PortSet) {
	for range n {
		u.Change(u.builder)
	}
	choice := 0
	if u.rand.IntN(20) == 0 {
		choice = u.rand.IntN(4)
	}
	u.setNodePorts(choice)
	table, dirty, _ := u.builder.Build()
	return table, dirty
}

// fresh is a kernel that has been told everything in one go.
func (u *universe) fresh(t *testing.T, table *service.Table) *fake {
	f := newFake(u.family)
	must(t, newBackend(u.options, f.kernel()).Sync(t.Context(), table, nil))
	return f
}

func TestTheKernelDoesWhatTheOracleSays(t *testing.T) {
	forEachUniverse(t, tier.Seeds(3, 6), func(t *testing.T, u *universe) {
		f := newFake(u.family)
		b := newBackend(u.options, f.kernel())
		for round := range 10 {
			table, dirty := u.change(20)
			must(t, b.Sync(t.Context(), table, dirty))
			for range 200 {
				p := u.Packet(table)
				if diff := cmp.Diff(oracle(table, p), f.judge(p, table.Pods)); diff != "" {
					t.Fatalf("round %d, packet %+v (-oracle +kernel):\n%s", round, p, diff)
				}
			}
		}
	})
}

func TestManySmallSyncsLeadToTheSameAsOne(t *testing.T) {
	forEachUniverse(t, tier.Seeds(3, 6), func(t *testing.T, u *universe) {
		f := newFake(u.family)
		b := newBackend(u.options, f.kernel())
		for step := range 60 {
			table, dirty := u.change(1)
			must(t, b.Sync(t.Context(), table, dirty))
			if step%3 != 0 {
				continue
			}
			if diff := cmp.Diff(u.fresh(t, table).state(), f.state()); diff != "" {
				t.Fatalf("step %d: the kernel holds (-one sync +many):\n%s", step, diff)
			}
		}
		drift, err := b.Verify(t.Context())
		if err != nil || len(drift) > 0 {
			t.Errorf("drift after own syncs: %v %v", drift, err)
		}
	})
}

// TestEveryMomentIsBeforeOrAfter looks at random packets after each write: at every moment they get to where they did before, or to where
// they will after it.
func TestEveryMomentIsBeforeOrAfter(t *testing.T) {
	forEachUniverse(t, tier.Seeds(3, 6), func(t *testing.T, u *universe) {
		f := newFake(u.family)
		b := newBackend(u.options, f.kernel())
		was, _ := u.change(40)
		must(t, b.Sync(t.Context(), was, nil))
		for range 60 {
			is, dirty := u.change(1)
			f.watch = u.witness(t, f, was, is)
			must(t, b.Sync(t.Context(), is, dirty))
			was = is
		}
	})
}

// witness fails a test at a moment at which a packet is served neither as one Table says nor as another.
func (u *universe) witness(t *testing.T, f *fake, was, is *service.Table) func(write string) {
	type watched struct {
		packet        service.Packet
		before, after []string
	}
	var packets []watched
	for range 10 {
		for _, p := range []service.Packet{u.Packet(was), u.Packet(is)} {
			packets = append(packets, watched{p, oracle(was, p), oracle(is, p)})
		}
	}
	return func(write string) {
		for _, w := range packets {
			if now := f.judge(w.packet, is.Pods); !either(w.before, w.after, now) {
				t.Fatalf("after %s, packet %+v:\nbefore %v\nnow    %v\nafter  %v", write, w.packet, w.before, now, w.after)
			}
		}
	}
}

// either reports whether what becomes of a packet is possible by one or another verdict. Who masquerades changes apart from that.
func either(before, after, now []string) bool {
	possible := map[string]struct{}{}
	for _, list := range [][]string{before, after} {
		for _, d := range list {
			possible[strings.TrimSuffix(d, "+m")] = struct{}{}
		}
	}
	for _, d := range now {
		if _, is := possible[strings.TrimSuffix(d, "+m")]; !is {
			return false
		}
	}
	return true
}

var (
	errByChance        = errors.New("the kernel says no")
	errRefusedByChance = fmt.Errorf("%w: %w", errByChance, unix.ENOMEM)
)

// failing makes calls fail now and then, some of them after all had been done.
func (u *universe) failing(f *fake, oneIn int) {
	f.fail = func(int) (before, after error) {
		switch u.rand.IntN(2 * oneIn) {
		case 0:
			return errByChance, nil
		case 1:
			return nil, errByChance
		}
		return nil, nil
	}
}

// foreign puts things of somebody else's into the kernel, and returns a test of whether they are still there.
func (u *universe) foreign(f *fake) func(t *testing.T) {
	address := netip.AddrPortFrom(netip.MustParseAddr(map[service.Family]string{service.IPv4: "203.0.113.77", service.IPv6: "2001:db8:9::77"}[u.family]), 80)
	k := key{service.TCP, address}
	s := virtualServer{key: k, scheduler: "wlc", flags: flagPersistent, timeout: time.Hour}
	f.servers[k] = &fakeServer{virtualServer: s, real: map[netip.AddrPort]realServer{address: {address: address, weight: 7}}}
	f.sets["KUBE-LOOP-BACK"] = &fakeSet{kind: ofFrontends, entries: map[entry]struct{}{{key: k}: {}}}
	return func(t *testing.T) {
		held, set := f.servers[k], f.sets["KUBE-LOOP-BACK"]
		if held == nil || held.virtualServer != s || len(held.real) != 1 || held.real[address].weight != 7 {
			t.Error("somebody else's virtual server has been changed")
		}
		if set == nil || len(set.entries) != 1 {
			t.Error("somebody else's set has been changed")
		}
		if i := slices.IndexFunc(f.journal, func(line string) bool {
			return strings.Contains(line, k.String()) || strings.Contains(line, "KUBE-")
		}); i >= 0 {
			t.Errorf("somebody else's is touched: %s", f.journal[i])
		}
	}
}

func TestFailedCallsLoseNothing(t *testing.T) {
	forEachUniverse(t, tier.Seeds(3, 6), func(t *testing.T, u *universe) {
		f := newFake(u.family)
		untouched := u.foreign(f)
		b := newBackend(u.options, f.kernel())
		kept := service.PortSet{}
		var table *service.Table
		for step := range 60 {
			var dirty service.PortSet
			table, dirty = u.change(1)
			for name := range dirty {
				kept.Add(name)
			}
			u.failing(f, 10+100*(step%2))
			if step%7 == 0 {
				kept = nil
			}
			if b.Sync(t.Context(), table, kept) == nil {
				kept = service.PortSet{}
			}
			if kept == nil {
				kept = service.PortSet{}
			}
			f.fail = nil
		}
		must(t, b.Sync(t.Context(), table, nil))
		untouched(t)
		delete(f.sets, "KUBE-LOOP-BACK")
		for k, s := range f.servers {
			if !s.ours() {
				delete(f.servers, k)
			}
		}
		if diff := cmp.Diff(u.fresh(t, table).state(), f.state()); diff != "" {
			t.Errorf("the kernel holds (-never failed +failed):\n%s", diff)
		}
	})
}

// TestAfterAFailureEachPortIsServedAsBeforeOrAfter lets single calls fail, also in a Sync that reads the kernel first.
func TestAfterAFailureEachPortIsServedAsBeforeOrAfter(t *testing.T) {
	forEachUniverse(t, tier.Seeds(3, 6), func(t *testing.T, u *universe) {
		f := newFake(u.family)
		b := newBackend(u.options, f.kernel())
		was, _ := u.change(40)
		must(t, b.Sync(t.Context(), was, nil))
		for step := range 60 {
			is, dirty := u.change(1)
			f.watch = u.witness(t, f, was, is)
			f.calls = 0
			nth := 1 + u.rand.IntN(12)
			if step%3 == 0 {
				dirty, nth = nil, nth+2*int(setCount)+len(f.servers)
			}
			f.fail = func(call int) (before, after error) {
				if call == nth {
					return errByChance, nil
				}
				return nil, nil
			}
			err := b.Sync(t.Context(), is, dirty)
			f.fail = nil
			if err == nil {
				was = is
				continue
			}
			f.watch("the failure")
			must(t, b.Sync(t.Context(), is, dirty))
			was = is
		}
	})
}
