package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service"
)

func TestWhichErrorsAreRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"the kernel's answer":                     {serverError("update", virtualServer{}, unix.EINVAL), true},
		"no memory for this one":                  {setError("add to ipset", "A", unix.ENOMEM), true},
		"a full set":                              {setError("add to ipset", "A", errFull), true},
		"a scheduler that the kernel lacks":       {serverError("add", virtualServer{}, unix.ENOENT), true},
		"an address that is no endpoint":          {realError("add", key{}, netip.AddrPort{}, unix.EINVAL), true},
		"IPv6 that is off on the interface":       {fmt.Errorf("add a local route: %w", unix.EACCES), true},
		"no privileges":                           {serverError("update", virtualServer{}, unix.EPERM), false},
		"a socket's buffer":                       {setError("add to ipset", "A", unix.ENOBUFS), false},
		"a virtual server that should be there":   {realError("add", key{}, netip.AddrPort{}, unix.ESRCH), false},
		"a set that should be there":              {setError("add to ipset", "A", unix.ENOENT), false},
		"a context that has ended":                {context.Canceled, false},
		"no IPVS":                                 {ErrNoIPVS, false},
		"several, of which one is about the rest": {errors.Join(unix.EINVAL, unix.ENOBUFS), false},
		"none that is known":                      {errors.New("odd"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refusal(test.err); got != test.want {
				t.Errorf("%v: got %t", test.err, got)
			}
		})
	}
}

func TestAWriterFindsWhatIsRefused(t *testing.T) {
	numbers := make([]int, 1000)
	for i := range numbers {
		numbers[i] = i
	}
	for name, test := range map[string]struct {
		refused     map[int]error
		failed      int
		atMostCalls int
	}{
		"nothing":                              {nil, 0, 1},
		"three":                                {map[int]error{0: unix.EINVAL, 500: unix.EINVAL, 999: unix.EINVAL}, 3, 70},
		"a full set takes nothing more":        {map[int]error{100: errFull}, 900, 30},
		"after an error nothing more is tried": {map[int]error{100: unix.ENOBUFS}, 1000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			calls, failed, done := 0, 0, 0
			w := writer[int]{write: func(list ...int) error {
				calls++
				for _, n := range list {
					if err := test.refused[n]; err != nil {
						return err
					}
				}
				return nil
			}, done: func(_ int, err error) {
				done++
				if err != nil {
					failed++
				}
			}}
			w.all(numbers)
			if failed != test.failed || done != len(numbers) || calls > test.atMostCalls {
				t.Errorf("%d of %d failed with %d calls, want %d with %d at most", failed, done, calls, test.failed, test.atMostCalls)
			}
		})
	}
}

// TestOneRefusedWriteConcernsItsPortAlone: the kernel refuses one write for ever. Every other port is served as the Table says, the error
// names the port, and the next Syncs write what has changed without reading the kernel.
func TestOneRefusedWriteConcernsItsPortAlone(t *testing.T) {
	forEachUniverse(t, tier.Seeds(4, 8), func(t *testing.T, u *universe) {
		hits := 0
		for range 25 {
			r := refusing{universe: u, fake: newFake(u.family)}
			r.backend = newBackend(u.options, r.fake.kernel())
			u.change(40)
			u.setNodePorts(0)
			table, _, _ := u.builder.Build()
			must(t, r.backend.Sync(t.Context(), table, nil))
			r.tables = []*service.Table{table}
			nth := 1 + u.rand.IntN(6)
			r.fake.refuse = func(line string) bool {
				if nth--; nth == 0 {
					r.target = line
				}
				return line == r.target
			}
			lists := r.fake.lists
			for range 4 {
				r.step(t)
			}
			if r.fake.lists != lists {
				t.Errorf("%s refused: the kernel has been read", r.target)
			}
			if len(r.unwritten) > 0 {
				hits++
			}
			r.fake.refuse = nil
			last := r.tables[len(r.tables)-1]
			must(t, r.backend.Sync(t.Context(), last, r.dirty(service.PortSet{})))
			if diff := cmp.Diff(u.fresh(t, last).state(), r.fake.state()); diff != "" {
				t.Fatalf("%s not refused any more: the kernel holds (-fresh +this):\n%s", r.target, diff)
			}
		}
		if hits == 0 {
			t.Error("no write was refused")
		}
	})
}

// refusing is a Backend on a kernel that refuses one write.
type refusing struct {
	*universe
	fake      *fake
	backend   *Backend
	target    string
	tables    []*service.Table // all of them
	unwritten service.Unwritten
}

func (r *refusing) dirty(ports service.PortSet) service.PortSet {
	for name := range r.unwritten {
		ports.Add(name)
	}
	return ports
}

// step changes something, syncs, and looks at what becomes of packets.
func (r *refusing) step(t *testing.T) {
	r.Change(r.builder)
	r.setNodePorts(0) // or everything is read
	table, dirty, _ := r.builder.Build()
	r.tables = append(r.tables, table)
	err := r.backend.Sync(t.Context(), table, r.dirty(dirty))
	var ok bool
	if r.unwritten, ok = errors.AsType[service.Unwritten](err); err != nil && !ok {
		t.Fatalf("%s refused: %v", r.target, err)
	}
	for name, reason := range r.unwritten {
		if !slices.ContainsFunc(r.tables, func(table *service.Table) bool { return r.concerns(table, table.Port(name)) }) {
			t.Errorf("%s refused: %s is named: %v", r.target, name, reason)
		}
	}
	for range 100 {
		p := r.Packet(table)
		if f := r.backend.failing[key{p.Protocol, p.Destination}]; f != nil && f.port == nil {
			continue // a frontend that no Service has any more
		}
		if slices.ContainsFunc(r.tables, func(table *service.Table) bool { return r.unwritten[table.Route(p).Service] != nil }) {
			continue
		}
		want, got := oracle(table, p), r.fake.judge(p, table.Pods)
		served := cmp.Equal(want, got) || strings.Contains(r.target, "HAIRPIN -") && either(want, nil, got)
		if !served {
			t.Fatalf("%s refused: packet %+v: want %v, got %v", r.target, p, want, got)
		}
	}
}

// concerns reports whether the write that is refused is about a service port.
func (r *refusing) concerns(table *service.Table, p *service.Port) bool {
	if p == nil {
		return false
	}
	var addrs []netip.Addr
	for _, f := range p.Frontends {
		if f.Kind == service.NodePort {
			addrs = append(addrs, table.NodePorts.Listed...)
			continue
		}
		addrs = append(addrs, f.Address.Addr())
	}
	for _, addr := range slices.Clone(addrs) {
		addrs = append(addrs, alias(key{address: netip.AddrPortFrom(addr, 1)}).address.Addr())
	}
	if strings.Contains(r.target, "HAIRPIN") {
		for _, e := range slices.Concat(p.Endpoints, p.Local) {
			addrs = append(addrs, e.Address.Addr())
		}
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return strings.Contains(r.target, a.String()) }) || strings.Contains(r.target, "HEALTH")
}

func TestARefusedPortRecovers(t *testing.T) {
	refuseWeb := func(s *stage) {
		s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "server web,tcp:80") }
		serveWeb(s)
		s.service("dns", dns)
		table, dirty, _ := s.builder.Build()
		err := s.backend.Sync(s.t.Context(), table, dirty)
		if unwritten, ok := errors.AsType[service.Unwritten](err); !ok || len(unwritten) != 1 || unwritten[webPort] == nil {
			s.t.Errorf("got %v", err)
		}
	}
	const others = "set REJECT dns,udp:53"
	for _, test := range []struct {
		name string
		do   func(s *stage)
		want string
	}{
		{"when the kernel takes it", func(s *stage) { s.kernel.refuse = nil }, cluster + "\n" + others},
		{"when it is deleted", func(s *stage) { deleteService("web")(s); s.slice("web", nil) }, others},
		{"when it asks for nothing that the kernel refuses", func(s *stage) { s.slice("web", nil) }, others + "\n set REJECT web,tcp:80"},
		{"by retiring", func(s *stage) {
			s.kernel.refuse = nil
			must(s.t, s.backend.Retire(s.t.Context()))
		}, cluster + "\n" + others},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				refuseWeb(s)
				lists := s.kernel.lists
				test.do(s)
				table, dirty, _ := s.builder.Build()
				dirty.Add(webPort)
				must(t, s.backend.Sync(t.Context(), table, dirty))
				s.want("then", test.want)
				if found := s.verify(); found != nil {
					t.Errorf("drift: %v", found)
				}
				if s.kernel.lists != lists+1 {
					t.Error("the kernel has been read by a Sync")
				}
			})
		})
	}
}

// TestADeletedServiceIsNoServicePort: whatever the kernel refuses where it was is logged, and tried again.
func TestADeletedServiceIsNoServicePort(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("after a restart: %t", restarted), func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.service("web", http)
				s.slice("web", []string{"8080"}, "away1")
				s.sync()
				s.connect("web,tcp:80", "away1:8080", 1)
				deleteService("web")(s)
				s.builder.DeleteSlice("default", "web")
				if restarted {
					s.sync()
					s.restart()
					s.sync()
					s.kernel.clock = s.kernel.clock.Add(time.Minute)
				}
				s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "server web,tcp:80") }
				s.retire()
				s.sync()
				if len(s.backend.failing) != 1 || len(s.backend.said) != 1 {
					t.Errorf("failing %v, said %v", s.backend.failing, s.backend.said)
				}
				s.kernel.refuse = nil
				s.connect("web,tcp:80", "away1:8080", 0)
				s.sync()
				s.retire()
				s.want("then", "")
			})
		})
	}
}

// TestAnEntryThatNobodyWantsIsTriedAgain: an earlier process has left it, and nothing else at its key.
func TestAnEntryThatNobodyWantsIsTriedAgain(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.service("web", http)
		s.service("dns", dns)
		s.sync()
		s.restart()
		deleteService("web")(s)
		s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "set REJECT - web") }
		s.sync()
		s.want("as long as the kernel refuses it", "set REJECT web,tcp:80\n set REJECT dns,udp:53")
		s.kernel.refuse = nil
		s.retire()
		s.want("then", "set REJECT dns,udp:53")
		if len(s.backend.users) > 0 {
			t.Errorf("left over: users %v", s.backend.users)
		}
	})
}

// TestWhereNothingMoreCanBeRefused: the set is full. Nobody goes to endpoints that are gone, and deletions are written.
func TestWhereNothingMoreCanBeRefused(t *testing.T) {
	for _, test := range []struct {
		name      string
		do        func(s *stage)
		unwritten bool
		want      string // once there is room
	}{
		{"endpoints are taken out of service", func(s *stage) { s.slice("web", nil) }, true, refusingDeleted},
		{"a Service is deleted", func(s *stage) {
			s.connect("web,tcp:80", "away1:8080", 1)
			deleteService("web")(s)
			s.slice("web", nil)
		}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.watch = nil // IPVS itself refuses clients where it has no real server
				s.options.Drain = 0
				s.restart()
				s.service("web", http)
				s.slice("web", []string{"8080"}, "away1")
				s.sync()
				test.do(s)
				s.kernel.refuse = func(line string) bool { return strings.HasPrefix(s.named(line), "set REJECT +") }
				table, dirty, _ := s.builder.Build()
				err := s.backend.Sync(t.Context(), table, dirty)
				if unwritten, ok := errors.AsType[service.Unwritten](err); ok != test.unwritten || ok && unwritten[webPort] == nil || err != nil && !ok {
					t.Errorf("got %v", err)
				}
				s.want("when it is full", "")
				if len(s.backend.users) > 0 {
					t.Errorf("left over: users %v", s.backend.users)
				}
				s.kernel.refuse = nil
				must(t, s.backend.Sync(t.Context(), table, dirty))
				s.want("then", test.want)
			})
		})
	}
}

func TestWhereNoServicePortCanBeWrittenTheSyncFails(t *testing.T) {
	refuseRoutes := func(line string) bool { return strings.HasPrefix(line, "route") }
	for _, test := range []struct {
		name      string
		do        func(s *stage)
		unwritten bool
	}{
		{"when everything is written", func(s *stage) { s.kernel.refuse = refuseRoutes }, false},
		{"but not if another one is written", func(s *stage) { s.service("dns", dns); s.kernel.refuse = refuseRoutes }, true},
		{"but not when a change is written", func(s *stage) {
			s.slice("web", nil)
			s.sync()
			s.slice("web", []string{"8080"}, "away1")
			s.kernel.refuse = refuseRoutes
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				serveWeb(s)
				test.do(s)
				table, dirty, _ := s.builder.Build()
				err := s.backend.Sync(t.Context(), table, dirty)
				if _, ok := errors.AsType[service.Unwritten](err); err == nil || ok != test.unwritten {
					t.Errorf("got %v", err)
				}
				s.kernel.refuse = nil
				must(t, s.backend.Sync(t.Context(), table, service.PortSet{webPort: {}}))
				if !s.kernel.has(setVirtual, s.key("web,tcp:80")) {
					t.Error("it is not served when the kernel takes it")
				}
			})
		})
	}
}
