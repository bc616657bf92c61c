package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
)

// patience only ends a test that fails: what it waits for takes milliseconds.
const patience = 60 * time.Second

// newHost returns a host with the interfaces one and two, which are the ends of a cable, and the addresses it has besides.
func newHost(t *testing.T) (host *lab.Host, own []netip.Addr) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	l, err := lab.New(lab.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	host = l.Nodes[0]
	ip(t, host, "link add one type veth peer name two")
	ip(t, host, "link set one up")
	ip(t, host, "link set two up")
	return host, []netip.Addr{host.IPv4, host.IPv6}
}

// ip changes the host's interfaces, all in one go.
func ip(t *testing.T, host *lab.Host, commands ...string) {
	t.Helper()
	if err := tryIP(t, host, commands...); err != nil {
		t.Fatal(err)
	}
}

// tryIP is ip for a goroutine that must not end the test.
func tryIP(t *testing.T, host *lab.Host, commands ...string) error {
	file := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(file, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	_, err := host.Output(t.Context(), "ip", "-batch", file)
	return err
}

// calls is what a Watcher has told.
type calls struct {
	mu    sync.Mutex
	lists [][]netip.Addr
	more  chan struct{}
}

// follow runs a Watcher in the host until the test ends.
func follow(t *testing.T, host *lab.Host, w *Watcher) *calls {
	t.Helper()
	c := &calls{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- host.Do(func() error { return w.Run(ctx, c.add) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *calls) add(addrs []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists = append(c.lists, addrs)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lists)
}

// expect waits until the last call is with the given addresses, in any order.
func (c *calls) expect(t *testing.T, want ...netip.Addr) {
	t.Helper()
	slices.SortFunc(want, netip.Addr.Compare)
	c.await(t, fmt.Sprint(want), func(lists [][]netip.Addr) bool { return slices.Equal(lists[len(lists)-1], want) })
}

// firstWith waits for a call with an address and returns the list of the first such call.
func (c *calls) firstWith(t *testing.T, want netip.Addr) (first []netip.Addr) {
	t.Helper()
	c.await(t, fmt.Sprint("a list with ", want), func(lists [][]netip.Addr) bool {
		i := slices.IndexFunc(lists, func(list []netip.Addr) bool { return slices.Contains(list, want) })
		if i < 0 {
			return false
		}
		first = lists[i]
		return true
	})
	return first
}

// await waits until the calls so far meet a condition.
func (c *calls) await(t *testing.T, want string, met func(lists [][]netip.Addr) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		lists := slices.Clone(c.lists)
		c.mu.Unlock()
		if len(lists) > 0 && met(lists) {
			return
		}
		select {
		case <-c.more:
		case <-deadline:
			t.Fatalf("got %v, want %s", lists[max(0, len(lists)-1):], want)
		}
	}
}

func TestWatcherSeesTheNodesAddressesComeAndGo(t *testing.T) {
	host, own := newHost(t)
	c := follow(t, host, &Watcher{})
	c.expect(t, own...) // and not those of this machine, in whose namespace the test is
	for _, text := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
		prefix := netip.MustParsePrefix(text)
		ip(t, host, "address add "+text+" dev one nodad")
		c.expect(t, append(slices.Clone(own), prefix.Addr())...)
		ip(t, host, "address del "+text+" dev one")
		c.expect(t, own...)
	}
	ip(t, host, "address add 192.0.2.7/24 dev one", "address add 2001:db8::7/64 dev one nodad")
	c.expect(t, append(addresses("192.0.2.7", "2001:db8::7"), own...)...)
	ip(t, host, "link del one")
	c.expect(t, own...)
}

func TestWatcherTakesOnlyUsableAddresses(t *testing.T) {
	tests := map[string]struct {
		add  string
		want []netip.Addr
	}{
		"a second one of an interface":  {"address add 192.0.2.8/24 dev one", addresses("192.0.2.8")},
		"of the loopback interface":     {"address add 192.0.2.9/32 dev lo", addresses("192.0.2.9")},
		"with a peer: the near end":     {"address add 192.0.2.10 peer 192.0.2.11 dev one", addresses("192.0.2.10")},
		"with an IPv6 peer: likewise":   {"address add 2001:db8::10 peer 2001:db8::11 dev one nodad", addresses("2001:db8::10")},
		"deprecated":                    {"address add 2001:db8::12/64 dev one nodad preferred_lft 0", addresses("2001:db8::12")},
		"not: another loopback address": {"address add 127.0.0.2/8 dev lo", nil},
		"not: IPv4 link-local":          {"address add 169.254.7.7/16 dev one", nil},
		"not: IPv6 link-local":          {"address add fe80::7/64 dev one nodad", nil},
		"not: of scope host":            {"address add 192.0.2.13/32 dev one scope host", nil},
		"not: of a named interface":     {"address add 192.0.2.14/32 dev virtual", nil},
	}
	host, own := newHost(t)
	ip(t, host, "link add virtual type veth peer name far", "address add 192.0.2.99/24 dev one")
	own = append(own, addresses("192.0.2.99")...)
	c := follow(t, host, &Watcher{Except: []string{"absent", "virtual"}})
	c.expect(t, own...)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ip(t, host, test.add, "address add 198.51.100.1/32 dev one") // the latter shows that the former was looked at
			c.expect(t, slices.Concat(own, test.want, addresses("198.51.100.1"))...)
			undo := strings.Fields(strings.Replace(test.add, "address add", "address del", 1))
			undo = slices.DeleteFunc(undo, func(word string) bool { return word == "nodad" || word == "preferred_lft" || word == "0" })
			ip(t, host, strings.Join(undo, " "), "address del 198.51.100.1/32 dev one")
			c.expect(t, own...)
		})
	}
}

func TestWatcherWaitsUntilAnIPv6AddressIsUsable(t *testing.T) {
	host, own := newHost(t)
	for file, value := range map[string]string{"accept_dad": "1", "dad_transmits": "3"} {
		if err := host.SetSysctl("ipv6/conf/one/"+file, value); err != nil {
			t.Fatal(err)
		}
	}
	c := follow(t, host, &Watcher{})
	c.expect(t, own...)
	// An address is tentative for at least three seconds. If the machine stalls for longer, the list comes too late to prove
	// anything, and the test tries the next address.
	const tries = 5
	for i := range tries {
		four, six := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 1+i))
		ip(t, host, fmt.Sprintf("address add %s/64 dev one", six), fmt.Sprintf("address add %s/32 dev one", four))
		list := c.firstWith(t, four)
		tentative, err := host.Output(t.Context(), "ip", "-6", "address", "show", "dev", "one", "tentative")
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, four, six)
		if !strings.Contains(tentative, six.String()+"/64") {
			c.expect(t, own...)
			continue
		}
		if slices.Contains(list, six) {
			t.Errorf("%v has the tentative address %s", list, six)
		}
		c.expect(t, own...)
		return
	}
	t.Fatalf("none of %d addresses was tentative when the list was made, so this proves nothing", tries)
}

func TestWatcherLeavesOutAnAddressThatAnotherMachineHas(t *testing.T) {
	host, own := newHost(t)
	if err := host.SetSysctl("ipv6/conf/one/accept_dad", "1"); err != nil {
		t.Fatal(err)
	}
	ip(t, host, "address add 2001:db8::2/64 dev two nodad")
	c := follow(t, host, &Watcher{Except: []string{"two"}})
	c.expect(t, own...)
	ip(t, host, "address add 2001:db8::2/64 dev one")
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		failed, err := host.Output(t.Context(), "ip", "-6", "address", "show", "dev", "one", "dadfailed")
		if err != nil || time.Since(start) > patience {
			t.Fatalf("no duplicate was found: %v", err)
		}
		if strings.Contains(failed, "2001:db8::2/64") {
			break
		}
	}
	ip(t, host, "address add 192.0.2.7/24 dev one")
	c.expect(t, append(addresses("192.0.2.7"), own...)...)
	if n := c.count(); n != 2 {
		t.Errorf("%d calls, and the duplicate must have caused none", n)
	}
}

func TestWatcherSurvivesAnInterfaceInALoop(t *testing.T) {
	host, own := newHost(t)
	c := follow(t, host, &Watcher{})
	c.expect(t, own...)
	start := time.Now()
	ip(t, host, loop(200)...)
	ip(t, host, "address add 192.0.2.7/24 dev one", "address add 2001:db8::7/64 dev one nodad")
	c.expect(t, append(addresses("192.0.2.7", "2001:db8::7"), own...)...)
	if n, most := c.count(), 2+int(time.Since(start)/quietTime); n > most {
		t.Errorf("%d calls for 800 changes, and the time was enough for %d", n, most)
	}
}

// loop adds and removes an address of each family as often as it is told.
func loop(times int) []string {
	var commands []string
	for range times {
		for _, what := range []string{"192.0.2.1/24 dev one", "2001:db8::1/64 dev one nodad"} {
			commands = append(commands, "address add "+what, "address del "+strings.TrimSuffix(what, " nodad"))
		}
	}
	return commands
}

func TestLostAnnouncementsCountAsAChange(t *testing.T) {
	host, _ := newHost(t)
	witness, socket := overflowing(t, host), overflowing(t, host)
	ip(t, host, loop(200)...)
	var message [4096]byte
	if _, err := witness.Read(message[:]); !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("got %v, so nothing was lost, and this would show nothing", err)
	}
	changed, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() { failed <- readAnnouncements(socket, changed) }()
	await(t, changed, failed)
	drain(changed)
	ip(t, host, "address add 192.0.2.7/24 dev one")
	await(t, changed, failed)
	socket.Close()
	if err := <-failed; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// overflowing opens a socket whose buffer is as small as the kernel lets it be.
func overflowing(t *testing.T, host *lab.Host) (socket *os.File) {
	t.Helper()
	err := host.Do(func() (err error) {
		socket, err = openAnnouncements()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	conn, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return socket
}

// await waits for a signal.
func await(t *testing.T, changed <-chan struct{}, failed <-chan error) {
	t.Helper()
	select {
	case <-changed:
	case err := <-failed:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("no change was heard of")
	}
}

// drain returns when nothing has come for a while.
func drain(changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

func TestListsOfManyAddressesAreWhole(t *testing.T) {
	host, own := newHost(t)
	const many = 2000 // more than one message holds
	var commands []string
	for i := range many {
		commands = append(commands, fmt.Sprintf("address add 198.18.%d.%d/32 dev two", i/250, i%250+1))
	}
	ip(t, host, commands...)
	done := make(chan error, 1)
	go func() { done <- tryIP(t, host, loop(200)...) }()
	lists, running := 0, true
	for running {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false // and the last list is made when nothing changes, so it cannot fail
		default:
		}
		addrs, err := list(host)
		if err == nil {
			lists++
		}
		if err == nil && len(addrs) < many+len(own) {
			t.Errorf("got %d addresses", len(addrs))
		}
	}
	if lists == 0 {
		t.Error("no list was made")
	}
}

func list(host *lab.Host) (addrs []netip.Addr, err error) {
	err = host.Do(func() (err error) {
		addrs, err = rtnetlink{}.addresses()
		return err
	})
	return addrs, err
}
