package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// fake is a kernel in memory, of one IP family. It notes every write that it is asked for, even one that changes nothing, but for those
// of which the interfaces say that they do not mind (AddRule, DeleteRule, Replace): of these it notes the ones that change something.
type fake struct {
	family  service.Family
	servers map[key]*fakeServer
	sets    map[string]*fakeSet
	routes  map[netip.Addr]struct{}
	ruled   bool
	chains  map[string][]xtables.Chain
	damaged []string // what rules.Verify finds, until the next Replace
	// counts is what virtual servers have counted.
	counts map[key]statistics
	// conns are those that IPVS remembers.
	conns []connection

	lacking []string // schedulers that it does not have
	// declining are schedulers that it does not give a virtual server with more real servers than so many, none if 0; declined is how
	// often it has refused one.
	declining map[string]int
	declined  int
	noTypes   []setKind     // types of ipset that it does not have
	capacity  int           // how many entries a set takes; 0: any number
	noIPVS    error         // what probe says
	readOnly  error         // what tune says
	clock     time.Time     // what now says
	slow      time.Duration // how long it takes to list real servers

	journal []string
	calls   int // of all kinds since the start
	lists   int // calls that list all virtual servers
	// fail says whether a call fails, before or after it has had its effect: an answer can be lost too. nil: none does.
	fail   func(call int) (before, after error)
	refuse func(write string) bool // which writes fail
	// watch is called after each write.
	watch func(write string)
}

type fakeServer struct {
	virtualServer
	real map[netip.AddrPort]realServer
}

type fakeSet struct {
	kind    setKind
	entries map[entry]struct{}
}

func newFake(family service.Family) *fake {
	return &fake{
		family:  family,
		servers: map[key]*fakeServer{},
		sets:    map[string]*fakeSet{},
		routes:  map[netip.Addr]struct{}{},
		clock:   time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// kernel is the fake as a Backend sees it.
func (f *fake) kernel() kernel {
	return kernel{
		servers:     fakeServers{f},
		connections: fakeConnections{f},
		sets:        fakeSets{f},
		routes:      fakeRoutes{f},
		rules:       fakeRules{f},
		tune:        func(context.Context) error { return f.read(func() error { return f.readOnly }) },
		probe:       func() error { return f.noIPVS },
		present:     func() bool { return f.noIPVS == nil },
		now:         func() time.Time { return f.clock },
	}
}

// read does what changes nothing, unless it is to fail.
func (f *fake) read(do func() error) error {
	f.calls++
	var before, after error
	if f.fail != nil {
		before, after = f.fail(f.calls)
	}
	if before != nil {
		return before
	}
	if err := do(); err != nil {
		return err
	}
	return after
}

// write does what changes something, and notes it.
func (f *fake) write(do func() error, note string, args ...any) error {
	return f.read(func() error {
		line := fmt.Sprintf(note, args...)
		if f.refuse != nil && f.refuse(line) {
			return errRefusedByChance
		}
		f.journal = append(f.journal, line)
		err := do()
		if f.watch != nil && err == nil {
			f.watch(line)
		}
		return err
	})
}

// take returns the writes since the last call.
func (f *fake) take() []string {
	journal := f.journal
	f.journal = nil
	return journal
}

// spelled is an address and port in one form for both families.
func spelled(a netip.AddrPort) string { return fmt.Sprintf("%s:%d", a.Addr(), a.Port()) }

// udpTimeout is the kernel's own, unless somebody changes it.
const udpTimeout = 5 * time.Minute

type fakeConnections struct{ *fake }

func (f fakeConnections) Each(do func(connection)) error {
	return f.read(func() error {
		for _, c := range f.conns {
			do(c)
		}
		return nil
	})
}

type fakeServers struct{ *fake }

func (f fakeServers) UDPTimeout() (time.Duration, error) {
	return udpTimeout, f.read(func() error { return nil })
}

func (f fakeServers) Close() {}

func (f fakeServers) Statistics() map[key]statistics { return f.counts }

func (f fakeServers) List() (list []virtualServer, err error) {
	f.lists++
	err = f.read(func() error {
		for _, s := range f.servers {
			list = append(list, s.virtualServer)
		}
		return nil
	})
	return list, err
}

func (f fakeServers) Add(s virtualServer) error {
	return f.write(func() error {
		switch {
		case f.servers[s.key] != nil:
			return errExists
		case slices.Contains(f.lacking, s.scheduler):
			return fmt.Errorf("add virtual server %s: %w", s.key, errNoScheduler)
		case f.declines(s):
			return fmt.Errorf("add virtual server %s: %w", s.key, unix.EINVAL)
		case s.flags&flagHashed != 0:
			return errors.New("a virtual server that says it is listed is never found again")
		}
		f.servers[s.key] = &fakeServer{virtualServer: s, real: map[netip.AddrPort]realServer{}}
		return nil
	}, "server %s added", s.key)
}

func (f fakeServers) Update(s virtualServer) error {
	return f.write(func() error {
		switch {
		case f.servers[s.key] == nil:
			return errNotFound
		case slices.Contains(f.lacking, s.scheduler):
			return fmt.Errorf("update virtual server %s: %w", s.key, errNoScheduler)
		}
		f.servers[s.key].virtualServer = s
		if f.declines(s) {
			f.servers[s.key].scheduler = "none" // the old one is gone by then, and the kernel says so
			return fmt.Errorf("update virtual server %s: %w", s.key, unix.EINVAL)
		}
		return nil
	}, "server %s changed", s.key)
}

func (f fakeServers) declines(s virtualServer) bool {
	most, declining := f.declining[s.scheduler]
	held := f.servers[s.key]
	if !declining || most > 0 && (held == nil || len(held.real) <= most) {
		return false
	}
	f.declined++
	return true
}

func (f fakeServers) Delete(k key) error {
	return f.write(func() error {
		if f.servers[k] == nil {
			return errNotFound
		}
		delete(f.servers, k)
		return nil
	}, "server %s deleted", k)
}

// ListReal finds nothing where there is no such virtual server, as the kernel does.
func (f fakeServers) ListReal(k key) (list []realServer, err error) {
	err = f.read(func() error {
		time.Sleep(f.slow)
		if s := f.servers[k]; s != nil {
			for _, r := range s.real {
				list = append(list, r)
			}
		}
		return nil
	})
	return list, err
}

func (f fakeServers) AddReal(k key, r realServer) error {
	return f.write(func() error {
		s := f.servers[k]
		if s == nil {
			return errNotFound
		}
		if _, is := s.real[r.address]; is {
			return errExists
		}
		s.real[r.address] = r
		return nil
	}, "server %s: real %s added, weight %d", k, spelled(r.address), r.weight)
}

func (f fakeServers) UpdateReal(k key, r realServer) error {
	return f.change(k, r.address, func(s *fakeServer, was realServer) {
		was.weight = r.weight
		s.real[r.address] = was
	}, fmt.Sprintf("weight %d", r.weight))
}

func (f fakeServers) DeleteReal(k key, address netip.AddrPort) error {
	return f.change(k, address, func(s *fakeServer, _ realServer) { delete(s.real, address) }, "deleted")
}

func (f fakeServers) change(k key, address netip.AddrPort, do func(*fakeServer, realServer), note string) error {
	return f.write(func() error {
		s := f.servers[k]
		if s == nil {
			return errNotFound
		}
		was, is := s.real[address]
		if !is {
			return errNotFound
		}
		do(s, was)
		return nil
	}, "server %s: real %s %s", k, spelled(address), note)
}

type fakeSets struct{ *fake }

func (f fakeSets) Names() (list []string, err error) {
	err = f.read(func() error {
		for name := range f.sets {
			list = append(list, name)
		}
		return nil
	})
	return list, err
}

func (f fakeSets) Create(s ipset) error {
	return f.write(func() error {
		if slices.Contains(f.noTypes, s.kind) {
			return fmt.Errorf("create ipset %s: %w: %s", s.name, errNoType, s.kind.module())
		}
		if f.sets[s.name] != nil {
			return errExists
		}
		f.sets[s.name] = &fakeSet{kind: s.kind, entries: map[entry]struct{}{}}
		return nil
	}, "set %s created", s.name)
}

func (f fakeSets) Destroy(name string) error {
	return f.write(func() error {
		if f.sets[name] == nil {
			return errNotFound
		}
		if f.chains != nil {
			return fmt.Errorf("set %s is in use by a rule", name)
		}
		delete(f.sets, name)
		return nil
	}, "set %s destroyed", name)
}

func (f fakeSets) find(s ipset) (*fakeSet, error) {
	held := f.sets[s.name]
	switch {
	case held == nil:
		return nil, fmt.Errorf("set %s %w", s.name, errNotFound)
	case held.kind != s.kind:
		return nil, fmt.Errorf("set %s %w", s.name, errWrongKind)
	}
	return held, nil
}

func (f fakeSets) List(s ipset) (list []entry, err error) {
	err = f.read(func() error {
		held, err := f.find(s)
		if err != nil {
			return err
		}
		for e := range held.entries {
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

func (f fakeSets) Add(s ipset, entries ...entry) error {
	return f.each(s, "+", entries, func(held *fakeSet, e entry) { held.entries[e] = struct{}{} })
}

func (f fakeSets) Delete(s ipset, entries ...entry) error {
	return f.each(s, "-", entries, func(held *fakeSet, e entry) { delete(held.entries, e) })
}

// each changes a set entry by entry, as the kernel does: packets see every state in between.
func (f fakeSets) each(s ipset, sign string, entries []entry, do func(*fakeSet, entry)) error {
	return f.read(func() error {
		held, err := f.find(s)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f.accepts(s, e); err != nil {
				return err
			}
			if _, there := held.entries[e]; sign == "+" && !there && f.capacity > 0 && len(held.entries) >= f.capacity {
				return setError("add to ipset", s.name, syscall.Errno(nl.IPSET_ERR_TYPE_SPECIFIC))
			}
			line := fmt.Sprintf("set %s %s %s", s.name, sign, e)
			if f.refuse != nil && f.refuse(line) {
				return errRefusedByChance
			}
			do(held, e)
			f.journal = append(f.journal, line)
			if f.watch != nil {
				f.watch(line)
			}
		}
		return nil
	})
}

// accepts says what the kernel refuses: entries of the other family, and ranges of everybody.
func (f fakeSets) accepts(s ipset, e entry) error {
	if s.kind != ofPorts && s.kind != ofPairs && service.FamilyOf(e.key.address.Addr()) != f.family {
		return fmt.Errorf("set %s: %s is not of its family", s.name, e.key)
	}
	if s.kind != ofClients && s.kind != ofPairs {
		return nil
	}
	if e.client.Bits() <= 0 || e.client != e.client.Masked() || service.FamilyOf(e.client.Addr()) != f.family {
		return fmt.Errorf("set %s: %s is no range that it takes", s.name, e.client)
	}
	return nil
}

type fakeRoutes struct{ *fake }

func (f fakeRoutes) List() (list []netip.Addr, err error) {
	err = f.read(func() error {
		for a := range f.routes {
			list = append(list, a)
		}
		return nil
	})
	return list, err
}

func (f fakeRoutes) Add(list ...netip.Addr) error {
	for _, a := range list {
		if err := f.write(func() error { f.routes[a] = struct{}{}; return nil }, "route %s added", a); err != nil {
			return err
		}
	}
	return nil
}

func (f fakeRoutes) Delete(list ...netip.Addr) error {
	for _, a := range list {
		if err := f.write(func() error { delete(f.routes, a); return nil }, "route %s deleted", a); err != nil {
			return err
		}
	}
	return nil
}

func (f fakeRoutes) Ruled() (is bool, err error) {
	err = f.read(func() error { is = f.ruled; return nil })
	return is, err
}

func (f fakeRoutes) AddRule() error    { return f.setRule(true, "rule added") }
func (f fakeRoutes) DeleteRule() error { return f.setRule(false, "rule deleted") }

func (f fakeRoutes) setRule(want bool, note string) error {
	if f.ruled == want {
		return f.read(func() error { return nil })
	}
	return f.write(func() error { f.ruled = want; return nil }, "%s", note)
}

type fakeRules struct{ *fake }

func (f fakeRules) Replace(_ context.Context, chains map[string][]xtables.Chain) error {
	if reflect.DeepEqual(f.chains, chains) && f.damaged == nil {
		return f.read(func() error { return nil })
	}
	return f.write(func() error { f.chains, f.damaged = chains, nil; return nil }, "rules replaced")
}

func (f fakeRules) Verify(context.Context) (drift []string, err error) {
	err = f.read(func() error { drift = f.damaged; return nil })
	return drift, err
}

func (f fakeRules) Remove(context.Context) error {
	return f.write(func() error { f.chains, f.damaged = nil, nil; return nil }, "rules removed")
}

// Unhook notes nothing, as no jump is looked at here.
func (f fakeRules) Unhook(context.Context, ...xtables.Jump) error {
	return f.read(func() error { return nil })
}

func (f fakeRules) RandomFully(context.Context) (bool, error) {
	return true, f.read(func() error { return nil })
}

// state is all that the kernel holds but the rules, a line for each thing, sorted. Empty sets are left out.
func (f *fake) state() []string {
	var lines []string
	for _, s := range f.servers {
		line := "server " + s.String() + " " + s.scheduler
		if !s.ours() {
			line += " of somebody else"
		}
		if flags := s.flags &^ ownMarkBits; flags != 0 {
			line += fmt.Sprintf(" flags %#x", flags)
		}
		if s.timeout != 0 {
			line += " timeout " + s.timeout.String()
		}
		lines = append(lines, line)
		for _, r := range s.real {
			lines = append(lines, fmt.Sprintf("server %s > %s weight %d", s.key, spelled(r.address), r.weight))
		}
	}
	for name, s := range f.sets {
		for e := range s.entries {
			lines = append(lines, "set "+strings.TrimPrefix(name, setPrefix(f.family))+" "+e.String())
		}
	}
	for a := range f.routes {
		lines = append(lines, "route "+a.String())
	}
	slices.Sort(lines)
	return lines
}
