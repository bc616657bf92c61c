// Package conntrack tests what becomes of standing flows when the rules change: on a node of the lab, with rules in the kernel, and
// clients that keep their port. It needs root and iptables.
package conntrack

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "fairlead-conntrack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// iptables-legacy has one lock for all network namespaces. With another lock file, these tests and other programs on this
	// machine do not wait for each other.
	os.Setenv("XTABLES_LOCKFILE", filepath.Join(dir, "xtables.lock"))
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// patience only ends a test that fails: it is the limit for an answer that must come, and for a change that must show.
var patience = lab.Patience(60 * time.Second)

// node is a lab whose first node has rules in one family, made from tables by hand.
type node struct {
	*lab.Lab
	t       *testing.T
	family  lab.Family
	backend *iptables.Backend
	flows   *conntrack.Flows
	table   *service.Table // nil before the first sync
}

// onEach runs a test in both families, on both kinds of rules. The node's rules name no Service yet, but connections are tracked.
func onEach(t *testing.T, options conntrack.Options, test func(t *testing.T, n *node)) {
	for _, variant := range site.Variants {
		for _, f := range lab.Families {
			t.Run(variant+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				l, err := lab.New(lab.Options{Nodes: 1})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				})
				n := &node{Lab: l, t: t, family: f}
				options := options
				options.Family = service.Family(f)
				options.NodeAddress = func(a netip.Addr) bool { return a == l.Nodes[0].Address(f) }
				n.flows = conntrack.NewFlows(options)
				n.backend = iptables.New(iptables.Options{Family: options.Family, Variant: xtables.Variant(variant), MasqueradeBit: 14})
				n.serve()
				test(t, n)
			})
		}
	}
}

// serve brings the rules up to date with the given ports, then the flows.
func (n *node) serve(ports ...*service.Port) {
	n.t.Helper()
	is := &service.Table{Family: service.Family(n.family), NodePorts: service.NodeAddresses{All: true}, Ports: ports}
	slices.SortFunc(is.Ports, func(x, y *service.Port) int { return x.Name.Compare(y.Name) })
	dirty := n.differences(is)
	err := n.Nodes[0].Do(func() error {
		if err := n.backend.Sync(n.t.Context(), is, dirty); err != nil {
			return err
		}
		return n.flows.Synced(n.t.Context(), n.table, is, dirty)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.table = is
}

func (n *node) differences(is *service.Table) service.PortSet {
	if n.table == nil {
		return nil
	}
	dirty := service.PortSet{}
	for _, p := range slices.Concat(n.table.Ports, is.Ports) {
		if !n.table.Port(p.Name).Equal(is.Port(p.Name)) {
			dirty.Add(p.Name)
		}
	}
	return dirty
}

// pod makes a pod that answers on port 8080.
func (n *node) pod(name string) *lab.Host {
	n.t.Helper()
	pod, err := n.Pod(n.Nodes[0], name)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := pod.ServeUDP(lab.Wildcard(n.family, 8080)); err != nil {
		n.t.Fatal(err)
	}
	if _, err := pod.ServeTCP(lab.Wildcard(n.family, 8080)); err != nil {
		n.t.Fatal(err)
	}
	return pod
}

// at is where a pod answers.
func (n *node) at(pod *lab.Host) netip.AddrPort { return pod.AddrPort(n.family, 8080) }

// vip is the i-th virtual IP with a port.
func (n *node) vip(i int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(site.ClusterIP(n.family, i), port)
}

// nodePort is where an outsider finds a node port.
func (n *node) nodePort(port uint16) netip.AddrPort { return n.Nodes[0].AddrPort(n.family, port) }

// port is a service port that answers on a virtual IP, and where nodePort is not 0 on this one.
func (n *node) port(name string, protocol service.Protocol, at netip.AddrPort, nodePort uint16, pods ...*lab.Host) *service.Port {
	p := &service.Port{
		Name:      service.PortName{Namespace: "default", Name: name, Protocol: protocol},
		Frontends: []service.Frontend{{Kind: service.ClusterIP, Address: at, WithoutEndpoints: service.Reject}},
	}
	if nodePort != 0 {
		p.Frontends = append(p.Frontends, service.Frontend{
			Kind:             service.NodePort,
			Address:          netip.AddrPortFrom(netip.Addr{}, nodePort),
			Masquerade:       service.MasqueradeAll,
			WithoutEndpoints: service.Reject,
		})
	}
	for _, pod := range pods {
		p.Endpoints = append(p.Endpoints, service.Endpoint{Address: n.at(pod), Place: service.ThisNode})
		if protocol == service.UDP {
			p.Serving = append(p.Serving, n.at(pod))
		}
	}
	slices.SortFunc(p.Endpoints, func(x, y service.Endpoint) int { return x.Address.Compare(y.Address) })
	slices.SortFunc(p.Serving, netip.AddrPort.Compare)
	return p
}

// udp is a service port of UDP.
func (n *node) udp(name string, at netip.AddrPort, nodePort uint16, pods ...*lab.Host) *service.Port {
	return n.port(name, service.UDP, at, nodePort, pods...)
}

// tracked lists the flows that the node's kernel knows, each as where the client sends to and who answers.
func (n *node) tracked(protocol uint8) []string {
	n.t.Helper()
	family := netlink.InetFamily(unix.AF_INET)
	if n.family == lab.IPv6 {
		family = unix.AF_INET6
	}
	var list []string
	err := n.Nodes[0].Do(func() error {
		entries, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		for _, e := range entries {
			if e.Forward.Protocol == protocol {
				list = append(list, fmt.Sprintf("%s:%d to %s:%d from %s:%d", e.Forward.SrcIP, e.Forward.SrcPort,
					e.Forward.DstIP, e.Forward.DstPort, e.Reverse.SrcIP, e.Reverse.SrcPort))
			}
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// eventually tries until it goes well.
func (n *node) eventually(what string, try func() error) {
	n.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: after %v still: %v", what, patience, err)
}
