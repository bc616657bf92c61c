package cases

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// worldPort is where the backbone answers for all addresses that no Service wants, so that packets that were left alone can be
// told from those that were dropped.
const worldPort = 7

// podPorts are the ports that every pod serves on.
var podPorts = []uint16{8080, 9090}

// stage is a site with all the hosts that the table names.
type stage struct {
	*site.Site
	t     *testing.T
	hosts map[string]*lab.Host
}

// newStage is a stage on which Fairlead runs.
func newStage(t *testing.T, variant string, flags Flags) *stage {
	t.Helper()
	s := buildStage(t, variant)
	s.Write("node", flags.Node())
	s.Start(flags.Args()...)
	return s
}

func buildStage(t *testing.T, variant string) *stage {
	t.Helper()
	s := &stage{Site: site.New(t, variant), t: t, hosts: map[string]*lab.Host{}}
	s.hosts["outside"], s.hosts["backbone"] = s.Outside, s.Backbone
	s.hosts["node"], s.hosts["node2"] = s.Nodes[0], s.Nodes[1]
	for i, node := range []string{Node1, Node2} {
		for _, name := range PodsOf(node) {
			s.addPod(s.Nodes[i], name)
		}
		many, err := s.AddAddresses(s.hosts[PodsOf(node)[3]], Crowd)
		s.must(err)
		for n, addr := range many {
			s.same(addr.IPv4, CrowdAddress(service.IPv4, i+1, n))
			s.same(addr.IPv6, CrowdAddress(service.IPv6, i+1, n))
		}
	}
	for _, family := range lab.Families {
		s.leadVirtualRanges(family)
	}
	s.Serve(s.Backbone, worldPort)
	s.bendLocalhost()
	return s
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// same holds the lab's addresses against those that the table counts on.
func (s *stage) same(is, want netip.Addr) {
	s.t.Helper()
	if is != want {
		s.t.Fatalf("the lab has %s where the table has %s", is, want)
	}
}

func (s *stage) addPod(node *lab.Host, name string) {
	s.t.Helper()
	pod := s.Pod(node, name, podPorts[0])
	s.Serve(pod, podPorts[1])
	s.hosts[name] = pod
	for _, family := range lab.Families {
		want, _ := atlas{family: service.Family(family)}.pod(name)
		s.same(pod.Address(family), want)
	}
}

// leadVirtualRanges sends packets for Services to node1, wherever they come from, and those that it leaves alone to a server on the
// backbone, which is the way to everywhere.
func (s *stage) leadVirtualRanges(family lab.Family) {
	s.t.Helper()
	program := "iptables-" + s.Variant
	if family == lab.IPv6 {
		program = "ip6tables-" + s.Variant
	}
	world := s.Backbone.AddrPort(family, worldPort).String()
	rules := "*nat\n"
	for _, r := range VirtualRanges(service.Family(family)) {
		s.must(s.Outside.AddRoute(r, s.Node().Address(family)))
		s.must(s.Nodes[1].AddRoute(r, s.Node().Address(family)))
		for _, protocol := range []string{"tcp", "udp"} {
			rules += fmt.Sprintf("-A PREROUTING -d %s -p %s -j DNAT --to-destination %s\n", r, protocol, world)
		}
	}
	s.feed(s.Backbone, rules+"COMMIT\n", program+"-restore", "--wait", "--noflush")
	s.returnThroughNode(family)
}

// returnThroughNode sends what that server says back by node1, or conntrack there would see one half of a connection.
func (s *stage) returnThroughNode(family lab.Family) {
	s.t.Helper()
	version := fmt.Sprintf("-%d", family)
	commands := []string{
		fmt.Sprintf("route add default via %s table %d", s.Node().Address(family), worldPort),
		fmt.Sprintf("rule add ipproto tcp sport %d table %d", worldPort, worldPort),
		fmt.Sprintf("rule add ipproto udp sport %d table %d", worldPort, worldPort),
	}
	s.feed(s.Backbone, strings.Join(commands, "\n")+"\n", "ip", version, "-batch", "-")
}

// feed runs a program on a host with a text to read. One that reads many commands is much quicker than many that get one each.
func (s *stage) feed(host *lab.Host, text, program string, args ...string) {
	s.t.Helper()
	command := host.Command(s.t.Context(), program, args...)
	command.Stdin = strings.NewReader(text)
	s.must(host.Run(command))
}

// bendLocalhost makes node2 take node1 for the way to localhost.
func (s *stage) bendLocalhost() {
	s.t.Helper()
	s.must(s.Nodes[1].SetSysctl("ipv4/conf/all/route_localnet", "1"))
	_, err := s.Nodes[1].Output(s.t.Context(), "ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
	s.must(err)
	s.must(s.Nodes[1].AddRoute(netip.MustParsePrefix("127.0.0.0/8"), s.Node().IPv4))
}

func (s *stage) write(name string, list []Object) {
	s.t.Helper()
	var all []runtime.Object
	for _, o := range list {
		all = append(all, o)
	}
	s.Write(name, all...)
}

// settle waits until all that has been written is in force, told by a Service that then moves from pod to pod. It moves three
// times, and its file is the first to be read: when Fairlead reads the first move it reads all that was written before; when it has
// read the second one it has handed all of that to the syncs; and when the third one is in force, so is the whole of an earlier sync.
func (s *stage) settle(round int) {
	s.t.Helper()
	const moves = 3
	for move := range moves {
		pod := []string{"a", "c"}[(round*moves+move)%2]
		virtual := s.moveTo(pod)
		for family, addr := range virtual {
			s.Eventually(fmt.Sprintf("step %d is in force for %s", round+1, family), func() error {
				answer, err := s.hosts["pod"].Ask(s.t.Context(), "tcp", netip.AddrPortFrom(addr, 80), lab.Timeout(lab.Patience(time.Second)), lab.Reset())
				if err == nil && answer.Server != s.hosts[pod].AddrPort(family, 8080) {
					err = fmt.Errorf("%s answered", answer.Server)
				}
				return err
			})
		}
	}
}

// moveTo puts a pod behind the Service that tells what is in force, and returns the addresses of that.
func (s *stage) moveTo(pod string) map[lab.Family]netip.Addr {
	s.t.Helper()
	var objects []Object
	virtual := map[lab.Family]netip.Addr{}
	for _, family := range lab.Families {
		raw := VirtualRanges(service.Family(family))[0].Addr().AsSlice()
		raw[len(raw)-2], raw[len(raw)-1] = 255, 1
		virtual[family], _ = netip.AddrFromSlice(raw)
		name := fmt.Sprintf("settled-%d", family)
		objects = append(objects, servicetest.Service(name, virtual[family].String(), "80"),
			servicetest.Slice(name, name, []string{"8080"}, s.hosts[pod].Address(family).String()))
	}
	s.write("000", objects)
	return virtual
}
