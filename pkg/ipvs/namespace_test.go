package ipvs

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// families are both, for tests by family.
var families = []service.Family{service.IPv4, service.IPv6}

// inNamespace moves the test, but none of its subtests, to a network namespace of its own, with lo up. It goes with the thread, and that
// with the test's goroutine, as it is never unlocked.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace of its own needs root: %v", err)
	}
	must(t, netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: rtnl.Loopback}}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// address is the nth address of a family's test network.
func address(f service.Family, n int) netip.Addr {
	if f == service.IPv6 {
		return netip.AddrFrom16([16]byte{0xfd, 15: byte(n), 14: byte(n >> 8), 13: byte(n >> 16)})
	}
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// keyOf is a frontend at the nth address.
func keyOf(f service.Family, protocol service.Protocol, n int, port uint16) key {
	return key{protocol, netip.AddrPortFrom(address(f, n), port)}
}
