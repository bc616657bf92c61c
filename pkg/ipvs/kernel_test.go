//go:build ipvs

// Tests that need a kernel with IPVS. The build tag keeps them from failing where there is none.

package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// testMark is in flag bits that the kernel does not use.
const testMark uint32 = 0x464c_0000

func newServersIn(t *testing.T, f service.Family) *kernelServers {
	t.Helper()
	k := newServers(f)
	t.Cleanup(func() {
		if k.handle != nil {
			k.handle.Close()
		}
	})
	return k
}

func ipvsadm(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ipvsadm", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ipvsadm %s: %v: %s", args, err, out)
	}
}

func wantServers(t *testing.T, k servers, want ...virtualServer) {
	t.Helper()
	got, err := k.List()
	must(t, err)
	slices.SortFunc(got, func(a, b virtualServer) int { return strings.Compare(a.String(), b.String()) })
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func wantReal(t *testing.T, k servers, at key, want ...realServer) {
	t.Helper()
	got, err := k.ListReal(at)
	must(t, err)
	slices.SortFunc(got, func(a, b realServer) int { return a.address.Compare(b.address) })
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %+v, want %+v", at, got, want)
	}
}

// The first test that runs finds a kernel that has not loaded IPVS.
func TestKernelLoadsIPVSWhenProbed(t *testing.T) {
	inNamespace(t)
	must(t, Probe())
	must(t, Probe())
}

func TestKernelVirtualServersComeAndGo(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		k := newServersIn(t, f)
		wantServers(t, k)
		sctp := virtualServer{keyOf(f, service.SCTP, 1, 80), "rr", testMark, 0}
		tcp := virtualServer{keyOf(f, service.TCP, 1, 80), "mh", testMark | flagPersistent | flagFallback | flagPorts, 3 * time.Hour}
		udp := virtualServer{keyOf(f, service.UDP, 1, 53), "wrr", 0, 0}
		for _, s := range []virtualServer{sctp, tcp, udp} {
			must(t, k.Add(s))
		}
		wantServers(t, k, sctp, tcp, udp)
		tcp.scheduler, tcp.flags, tcp.timeout = "lc", testMark, 0
		udp.flags, udp.timeout = testMark|flagPersistent, 10*time.Second
		must(t, k.Update(tcp))
		must(t, k.Update(udp))
		wantServers(t, k, sctp, tcp, udp)
		must(t, k.Delete(tcp.key))
		wantServers(t, k, sctp, udp)
	})
}

func TestKernelRealServersComeAndGo(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		k, s := newServersIn(t, f), virtualServer{keyOf(f, service.TCP, 1, 80), "rr", testMark, 0}
		at := s.key
		one, two := realServer{keyOf(f, 0, 10, 8080).address, 1, 0, 0}, realServer{keyOf(f, 0, 11, 8080).address, 65535, 0, 0}
		wantReal(t, k, at) // not even a virtual server
		must(t, k.Add(s))
		wantReal(t, k, at)
		must(t, k.AddReal(at, one))
		must(t, k.AddReal(at, two))
		wantReal(t, k, at, one, two)
		one.weight = 0
		must(t, k.UpdateReal(at, one))
		wantReal(t, k, at, one, two)
		s.scheduler = "mh"
		must(t, k.Update(s)) // keeps them
		wantReal(t, k, at, one, two)
		must(t, k.DeleteReal(at, one.address))
		wantReal(t, k, at, two)
		must(t, k.Delete(at)) // with them
		wantReal(t, k, at)
	})
}

func TestKernelTellsWhatIsThereAndWhatIsNot(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		k, s, r := newServersIn(t, f), virtualServer{keyOf(f, service.TCP, 1, 80), "rr", testMark, 0}, realServer{address: keyOf(f, 0, 10, 8080).address}
		other, absent := s, keyOf(f, service.TCP, 2, 80)
		other.scheduler = "nosuch"
		is := func(doing string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", doing, err, want)
			}
		}
		is("add with an unknown scheduler", k.Add(other), errNoScheduler)
		is("update of none", k.Update(s), errNotFound)
		is("delete of none", k.Delete(s.key), errNotFound)
		must(t, k.Add(s))
		is("add again", k.Add(s), errExists)
		is("update to an unknown scheduler", k.Update(other), errNoScheduler)
		is("update of no real server", k.UpdateReal(s.key, r), errNotFound)
		is("delete of no real server", k.DeleteReal(s.key, r.address), errNotFound)
		is("add to no virtual server", k.AddReal(absent, r), errNotFound)
		is("update in no virtual server", k.UpdateReal(absent, r), errNotFound)
		is("delete from no virtual server", k.DeleteReal(absent, r.address), errNotFound)
		must(t, k.AddReal(s.key, r))
		is("add a real server again", k.AddReal(s.key, r), errExists)
		wantServers(t, k, s)
	})
}

func TestKernelSchedulersLoad(t *testing.T) {
	inNamespace(t)
	k := newServersIn(t, service.IPv4)
	for i, name := range []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"} {
		must(t, k.Add(virtualServer{keyOf(service.IPv4, service.TCP, i, 80), name, testMark, 0}))
	}
}

// TestKernelRefusesMHForTooManyRealServers: the virtual server has no scheduler then, and takes another one.
func TestKernelRefusesMHForTooManyRealServers(t *testing.T) {
	inNamespace(t)
	k, s := newServersIn(t, service.IPv4), virtualServer{keyOf(service.IPv4, service.TCP, 1, 80), "wrr", testMark, 0}
	must(t, k.Add(s))
	for i := range mostForMH {
		must(t, k.AddReal(s.key, realServer{address: keyOf(service.IPv4, 0, 1000+i, 8080).address, weight: 1}))
	}
	mh := s
	mh.scheduler = "mh"
	must(t, k.Update(mh))
	must(t, k.Update(s))
	must(t, k.AddReal(s.key, realServer{address: keyOf(service.IPv4, 0, 1000+mostForMH, 8080).address, weight: 1}))
	if err := k.Update(mh); !errors.Is(err, unix.EINVAL) || !refusal(err) {
		t.Errorf("with one more: %v", err)
	}
	must(t, k.Update(s))
	wantServers(t, k, s)
}

func TestKernelVirtualServersOfOthersAreListed(t *testing.T) {
	inNamespace(t)
	ipvsadm(t, "-A -t 10.0.0.1:80 -s wlc -p 90")
	ipvsadm(t, "-a -t 10.0.0.1:80 -r 10.0.0.9:8080 -m -w 7")
	ipvsadm(t, "-A -t [fd00::1]:80 -s rr")
	ipvsadm(t, "-A -f 7 -s rr")    // by packet mark: has no address
	ipvsadm(t, "-A -f 7 -6 -s rr") // the same for IPv6
	v4, v6 := newServersIn(t, service.IPv4), newServersIn(t, service.IPv6)
	one := keyOf(service.IPv4, service.TCP, 1, 80)
	wantServers(t, v4, virtualServer{one, "wlc", flagPersistent, 90 * time.Second})
	wantReal(t, v4, one, realServer{keyOf(service.IPv4, 0, 9, 8080).address, 7, 0, 0})
	wantServers(t, v6, virtualServer{keyOf(service.IPv6, service.TCP, 1, 80), "rr", 0, 0})
}

func TestKernelCountsConnections(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		k, s := newServersIn(t, f), virtualServer{keyOf(f, service.TCP, 1, 80), "rr", testMark | flagPersistent, time.Hour}
		must(t, newRoutes(f, 1<<16).Add(address(f, 1)))
		ip(t, f, "rule add priority 1 table 17996")
		ip(t, f, "link add void type dummy")
		ip(t, f, "link set void up")
		optimistic := map[service.Family]string{service.IPv6: "nodad"}[f]
		ip(t, f, fmt.Sprintf("address add %s/%d dev void %s", address(f, 200), f.Bits()-8, optimistic))
		must(t, k.Add(s))
		r := realServer{keyOf(f, 0, 10, 8080).address, 1, 0, 0}
		must(t, k.AddReal(s.key, r))
		connect(t, f, s.key)
		r.connections, r.established = 1, 1 // and not what makes the client's next one go there too
		wantReal(t, k, s.key, r)
	})
}

// connect begins a connection that nobody answers. It binds an address that the interfaces have: those of our routes are none (IPv4).
func connect(t *testing.T, f service.Family, to key) {
	t.Helper()
	fd, err := unix.Socket(rtnl.Family(f), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, sockaddr(netip.AddrPortFrom(address(f, 200), 0))))
	if err := unix.Connect(fd, sockaddr(to.address)); err != unix.EINPROGRESS {
		t.Fatalf("connect to %s: %v", to, err)
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func TestKernelSocketIsOpenedAgain(t *testing.T) {
	inNamespace(t)
	k, s := newServersIn(t, service.IPv4), virtualServer{keyOf(service.IPv4, service.TCP, 1, 80), "rr", testMark, 0}
	must(t, k.Add(s))
	k.handle.Close()
	wantServers(t, k, s)
}

func TestKernelTimeoutsAreSet(t *testing.T) {
	inNamespace(t)
	k := newServersIn(t, service.IPv4)
	must(t, k.setTimeouts(0, 0, 0))
	must(t, k.setTimeouts(1000*time.Second, 0, 77*time.Second))
	var config *moby.Config
	must(t, k.do(func(h *moby.Handle) (err error) { config, err = h.GetConfig(); return err }))
	if want := (moby.Config{TimeoutTCP: 1000 * time.Second, TimeoutTCPFin: 2 * time.Minute, TimeoutUDP: 77 * time.Second}); *config != want {
		t.Errorf("got %+v, want %+v", *config, want)
	}
}

func TestKernelSysctlsAreSet(t *testing.T) {
	inNamespace(t)
	must(t, Probe())
	must(t, applySysctls(t.Context(), true))
	must(t, applySysctls(t.Context(), true))
	for path, want := range map[string]string{
		"net/ipv4/vs/conntrack": "1", "net/ipv4/vs/expire_nodest_conn": "1", "net/ipv4/vs/expire_quiescent_template": "1",
		"net/ipv4/vs/conn_reuse_mode": "1", "net/ipv4/ip_forward": "1", "net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2",
	} {
		if text, err := os.ReadFile("/proc/sys/" + path); err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s: got %q, %v, want %s", path, text, err, want)
		}
	}
}

func TestKernelSetsOfEachKindHoldTheirEntries(t *testing.T) {
	for _, f := range families {
		for _, kind := range []setKind{ofFrontends, ofClients, ofPairs, ofPorts} {
			t.Run(fmt.Sprintf("%s %s", f, kind), func(t *testing.T) { testKind(t, f, kind) })
		}
	}
}

func TestKernelRoutes(t *testing.T) {
	t.Run("routes", TestRoutesComeAndGo)
	t.Run("routes of others", TestRoutesOfOthersInOurTableAreNotOurs)
	t.Run("rule", TestTheRuleComesAndGoes)
	t.Run("other rules", TestOtherRulesToOurTableAreReplaced)
}

// TestKernelTellsWhatConnectionsStand makes a connection to a virtual server, and ends it.
func TestKernelTellsWhatConnectionsStand(t *testing.T) {
	inNamespace(t)
	must(t, Probe())
	must(t, applySysctls(t.Context(), false))
	for _, args := range []string{"addr add 10.9.9.1/32 dev lo", "addr add 10.9.9.2/32 dev lo", "-6 addr add fd99::1/128 dev lo nodad", "-6 addr add fd99::2/128 dev lo nodad"} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	for f, addrs := range map[service.Family][2]string{service.IPv4: {"10.9.9.1", "10.9.9.2"}, service.IPv6: {"fd99::1", "fd99::2"}} {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(addrs[1]), 8080).String())
		must(t, err)
		defer listener.Close()
		k := newServersIn(t, f)
		at := key{service.TCP, netip.AddrPortFrom(netip.MustParseAddr(addrs[0]), 80)}
		must(t, k.Add(virtualServer{key: at, scheduler: "rr", flags: ownMark}))
		must(t, k.AddReal(at, realServer{address: netip.MustParseAddrPort(listener.Addr().String()), weight: 1}))
		b := New(Options{Family: f})
		standing := func(want int) {
			t.Helper()
			if left, err := b.Drain(t.Context()); err != nil || left != want {
				t.Errorf("%s: %d connections stand, error %v, want %d", f, left, err, want)
			}
		}
		standing(0)
		conn, err := net.Dial("tcp", at.address.String())
		must(t, err)
		peer, err := listener.Accept()
		must(t, err)
		standing(1)
		must(t, conn.(*net.TCPConn).SetLinger(0)) // a reset is the end
		must(t, conn.Close())
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if left, _ := b.Drain(t.Context()); left == 0 {
				break
			}
		}
		standing(0)
		must(t, peer.Close())
		must(t, k.Delete(at))
	}
	timeout, err := newServersIn(t, service.IPv4).UDPTimeout()
	if err != nil || timeout != 5*time.Minute {
		t.Errorf("the UDP timeout is %v, error %v", timeout, err)
	}
}
