//go:build ipvs

package kubeproxy

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// server makes a virtual server with one endpoint.
func server(t *testing.T, handle *moby.Handle, f service.Family, at netip.AddrPort, flags uint32) {
	t.Helper()
	s := &moby.Service{AddressFamily: uint16(rtnl.Family(f)), Protocol: unix.IPPROTO_TCP, Address: at.Addr().AsSlice(), Port: at.Port(),
		SchedName: "rr", Flags: flags, Netmask: 128}
	if f == service.IPv4 {
		s.Netmask = 0xffffffff
	}
	if err := handle.NewService(s); err != nil {
		t.Fatal(err)
	}
	endpoint := at.Addr().Next().Next()
	if err := handle.NewDestination(s, &moby.Destination{Address: endpoint.AsSlice(), Port: 8080, Weight: 1}); err != nil {
		t.Fatal(err)
	}
}

// What kube-proxy's IPVS mode has left goes: at its virtual IPs and its node ports, and nobody else's.
func TestKernelWhatIPVSModeLeftGoes(t *testing.T) {
	if err := ipvs.Probe(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			n := testNode[f]
			addLink(t, "eth0", n.node)
			excluded := netip.MustParseAddr(n.vip).Next()
			ranges := []netip.Prefix{netip.PrefixFrom(excluded, excluded.BitLen())}
			addLink(t, deviceName, alone(n.vip), alone(excluded.String()))
			handle, err := moby.New("")
			if err != nil {
				t.Fatal(err)
			}
			defer handle.Close()
			node := netip.MustParsePrefix(n.node).Addr()
			const ownMark = 0x464c_0000
			server(t, handle, f, netip.AddrPortFrom(netip.MustParseAddr(n.vip), 80), 0)
			server(t, handle, f, netip.AddrPortFrom(node, 30080), 0)
			others := map[netip.AddrPort]uint32{
				netip.AddrPortFrom(node, 8443):                            0,       // keepalived's
				netip.AddrPortFrom(netip.MustParseAddr(n.gateway), 30080): 0,       // a director's, at a node port's number
				netip.AddrPortFrom(excluded, 80):                          0,       // told to be left alone
				netip.AddrPortFrom(netip.MustParseAddr(n.vip), 81):        ownMark, // Fairlead's
			}
			for at, flags := range others {
				server(t, handle, f, at, flags)
			}
			ports := setName(setNodePortTCP, f)
			if err := netlink.IpsetCreate(ports, "bitmap:port", netlink.IpsetCreateOptions{PortTo: 65535}); err != nil {
				t.Fatal(err)
			}
			addPort(t, ports, "30080")
			if stands, err := Standing(t.Context(), f, ranges); err != nil || !stands {
				t.Fatalf("it stands: %v, %v", stands, err)
			}
			for want := 2; want >= 0; want -= 2 { // at first they are taken out of service
				if left, err := Retire(t.Context(), f, ranges, nil); err != nil || left != want {
					t.Errorf("left: %d, want %d, %v", left, want, err)
				}
			}
			found, err := handle.GetServices()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range found {
				addr, _ := netip.AddrFromSlice(s.Address)
				at := netip.AddrPortFrom(addr.Unmap(), s.Port)
				if _, is := others[at]; !is {
					t.Errorf("%s is left", at)
				}
				delete(others, at)
			}
			if len(others) > 0 {
				t.Errorf("gone: %v", others)
			}
			if local, err := standIns(f); err != nil || len(local) != 1 || local[0] != excluded {
				t.Errorf("local are %v, %v; want %s", local, err, excluded)
			}
			if stands, err := Standing(t.Context(), f, ranges); err != nil || stands {
				table, _ := os.ReadFile("/proc/thread-self/net/ip_vs")
				t.Errorf("it stands still: %v, %v\n%s", stands, err, table)
			}
			if _, err := netlink.IpsetList(ports); !absent(err) {
				t.Errorf("the set is left: %v", err)
			}
			if link, err := net.InterfaceByName(deviceName); err == nil {
				t.Errorf("%s is left", link.Name)
			}
		})
	}
}

// addPort uses the program, as the library gives entries of such a set a protocol, which the kernel refuses.
func addPort(t *testing.T, set, port string) {
	t.Helper()
	if out, err := exec.Command("ipset", "add", set, port).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
