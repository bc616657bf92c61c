package kubeproxy

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/pkg/service"
)

// The node in the tests, by family: its own address, the way out, and a virtual IP.
var testNode = map[service.Family]struct{ node, gateway, vip string }{
	service.IPv4: {"172.30.0.11/24", "172.30.0.1", "10.96.0.50"},
	service.IPv6: {"fd00:30::11/64", "fd00:30::1", "fd00:10:96::50"},
}

// addLink makes a link with addresses. It is a bridge, as not every kernel has dummy devices.
func addLink(t *testing.T, name string, addrs ...string) netlink.Link {
	t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = 0x02 // IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			t.Fatal(err)
		}
	}
	return link
}

// addDefault waits until the gateway can be reached: an IPv6 address is there some moments after it has been added.
func addDefault(t *testing.T, gateway string) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func alone(a string) string {
	if netip.MustParseAddr(a).Is6() {
		return a + "/128"
	}
	return a + "/32"
}

// echo answers what comes, on all addresses.
func echo(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buffer := make([]byte, 10)
				for n, err := c.Read(buffer); err == nil; n, err = c.Read(buffer) {
					_, _ = c.Write(buffer[:n])
				}
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func dial(t *testing.T, to string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func alive(t *testing.T, what string, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	buffer := make([]byte, 1)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("%s: %v", what, err)
	} else if _, err := c.Read(buffer); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func localAddress(c net.Conn) string { return c.LocalAddr().(*net.TCPAddr).IP.String() }

// A connection of the node's from a virtual IP lives on without the device, and new ones come from the node's own address.
func TestVirtualIPsStayLocalWithoutTheirDevice(t *testing.T) {
	inNamespace(t)
	v4, v6 := testNode[service.IPv4], testNode[service.IPv6]
	addLink(t, "eth0", v4.node, v6.node)
	link := addLink(t, deviceName, alone(v4.vip), alone(v6.vip))
	port := echo(t)
	before := map[service.Family]net.Conn{}
	for f, n := range testNode {
		addDefault(t, n.gateway)
		before[f] = dial(t, net.JoinHostPort(n.vip, port))
		if from := localAddress(before[f]); from != n.vip {
			t.Fatalf("%s: the test is void, as the connection comes from %s", f, from)
		}
	}
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		if err := replaceDevice(link, f); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := device(); err != nil || left != nil {
		t.Errorf("the device is left: %v, %v", left, err)
	}
	for f, n := range testNode {
		alive(t, "before, "+f.String(), before[f])
		c := dial(t, net.JoinHostPort(n.vip, port))
		alive(t, "afterwards, "+f.String(), c)
		if want, _, _ := net.ParseCIDR(n.node); localAddress(c) != want.String() {
			t.Errorf("%s: a new connection comes from %s", f, localAddress(c))
		}
		// No connection of IPVS needs it.
		if left, err := Retire(t.Context(), f, nil, nil); err != nil || left != 0 {
			t.Error(left, err)
		}
		if list, err := standIns(f); err != nil || len(list) > 0 {
			t.Errorf("routes are left: %v, %v", list, err)
		}
	}
}
