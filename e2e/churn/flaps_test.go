//go:build soak

package churn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

const (
	// flaps is how often the interface comes and goes.
	flaps = 200
	// quietTime is that of node.Watcher: it hands over no addresses before none has changed for so long.
	quietTime = 50 * time.Millisecond
)

var flapping = lab.Addresses{IPv4: netip.MustParseAddr("198.51.100.7"), IPv6: netip.MustParseAddr("2001:db8:51::7")}

// TestInterfaceFlaps lets an interface come and go all the time, with addresses on which node ports have to answer. Fairlead must
// not sync for each change, but wait until the addresses are quiet. With a minimum sync period of 0, nothing else limits its syncs.
func TestInterfaceFlaps(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		pod := s.Pod(s.Nodes[1], "pod", 8080)
		svc := site.DualStack("web", 10, "tcp:80=30080")
		svc.Spec.Type = corev1.ServiceTypeNodePort
		s.Write("web", svc)
		for _, f := range lab.Families {
			s.Write("web-"+f.String(), site.Slice(f, "web", "tcp:8080", site.At(f, pod, s.Nodes[1])))
			to := flapping.Address(f)
			if err := s.Outside.AddRoute(netip.PrefixFrom(to, to.BitLen()), s.Node().Address(f)); err != nil {
				t.Fatal(err)
			}
		}
		process := s.StartProcess("--manifests", s.Manifests, "--nodeport-addresses", "198.51.100.0/24,2001:db8:51::/64",
			site.ModeFlag("min-sync-period"), "0")
		for _, f := range lab.Families {
			s.Answers(s.Node(), "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
		}
		before, start, synced := measure(t, process), time.Now(), syncs(s)
		if err := flap(s.Node()); err != nil {
			t.Fatal(err)
		}
		after, end := measure(t, process), syncs(s)
		took := time.Since(start)
		t.Logf("%d times in %v: CPU %v; %s", flaps, took, after.cpu-before.cpu, after)
		for _, f := range lab.Families {
			n, most := end[f]-synced[f], 2+int(took/quietTime)
			t.Logf("%s: %d syncs, and the time was enough for %d", f, n, most)
			if n > most {
				t.Errorf("%s: %d syncs for %d changes, and the time was enough for %d", f, n, 2*flaps, most)
			}
		}
		start = time.Now()
		for _, f := range lab.Families {
			s.Answers(s.Outside, "tcp", flapping.AddrPort(f, 30080))
			if _, err := s.Outside.Ask(context.Background(), "tcp", s.Node().AddrPort(f, 30080)); !errors.Is(err, lab.ErrRefused) {
				t.Errorf("%s: the node's other address: got %v, want it refused", f, err)
			}
		}
		t.Logf("node ports answered after %v", time.Since(start))
		select {
		case <-process.Done():
			t.Error("Fairlead has ended")
		default:
		}
	})
}

// syncs is how often Fairlead has synced each family after the first time.
func syncs(s *site.Site) map[lab.Family]int {
	counts := map[lab.Family]int{}
	for _, f := range lab.Families {
		counts[f] = s.Log.Count(fmt.Sprintf("%q family=%q", "Synced", f))
	}
	return counts
}

// flap adds an interface with addresses to a host and takes it away, often, and leaves it there in the end.
func flap(host *lab.Host) error {
	err := host.Do(func() error {
		for n := range flaps {
			if err := addInterface(); err != nil {
				return fmt.Errorf("time %d: %w", n, err)
			}
			time.Sleep(20 * time.Millisecond)
			if n == flaps-1 {
				break
			}
			if err := removeInterface(); err != nil {
				return fmt.Errorf("time %d: %w", n, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("flap: %w", err)
	}
	return nil
}

func addInterface() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "flap"
	// A cable with both ends here, as not every kernel has dummy interfaces.
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "flap-peer"}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add an interface: %w", err)
	}
	for _, f := range lab.Families {
		addr := flapping.Address(f)
		whole := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: whole, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %s: %w", addr, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the interface up: %w", err)
	}
	return nil
}

func removeInterface() error {
	link, err := netlink.LinkByName("flap")
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove the interface: %w", err)
	}
	return nil
}
