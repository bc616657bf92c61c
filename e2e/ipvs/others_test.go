//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// balancerIP is a port of the load-balancer IP that balanced gives the n-th Service.
func balancerIP(f lab.Family, n int, port uint16) netip.AddrPort {
	format := map[lab.Family]string{lab.IPv4: "203.0.113.%d", lab.IPv6: "2001:db8:1::%d"}[f]
	return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(format, n%10)), port)
}

// balancedStage is a stage with pods on both nodes, and outsiders that come to the first one.
func balancedStage(t *testing.T) (s *stage, here, there *lab.Host) {
	t.Helper()
	s = newStage(t)
	s.openOutside()
	return s, s.Pod(s.node1, "here", 8080), s.Pod(s.node2, "there", 8080)
}

// balance puts both pods behind a Service with a load-balancer IP.
func (s *stage) balance(name string, n int, policy corev1.ServiceExternalTrafficPolicy, here, there *lab.Host) {
	s.t.Helper()
	svc, _ := balanced(name, n, policy)
	s.Write(name, svc)
	s.behind(name, endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
}

// lines are connections that stand.
type lines struct {
	s     *stage
	conns map[string]*lab.Conn
}

// open adds a connection from somewhere to each of some pods.
func (l *lines) open(name string, from *lab.Host, to netip.AddrPort, pods ...*lab.Host) {
	l.s.t.Helper()
	for _, pod := range pods {
		l.s.Eventually(fmt.Sprintf("%s gets from %s to %s", to, from.Name, pod.Name), func() error {
			conn, err := from.Connect(l.s.t.Context(), to, lab.Reset())
			if err != nil {
				return err
			}
			if !isOneOf(conn.Answer.Server.Addr(), pod) {
				return errors.Join(errAnswered(conn.Answer), conn.Close())
			}
			l.s.t.Cleanup(func() { _ = conn.Close() })
			l.conns[fmt.Sprintf("%s: %s to %s at %s", name, from.Name, to, pod.Name)] = conn
			return nil
		})
	}
}

// echo uses all of them at once, as each that is dead takes its time.
func (l *lines) echo(t *testing.T, text string) {
	t.Helper()
	var asking sync.WaitGroup
	for name, conn := range l.conns {
		asking.Go(func() {
			if err := conn.Echo(t.Context(), "still there?"); err != nil {
				t.Errorf("%s: %s: %v", text, name, err)
			}
		})
	}
	asking.Wait()
}

// tables runs a command of iptables on the node, for both families.
func (s *stage) tables(args string) {
	s.t.Helper()
	for _, f := range lab.Families {
		s.familyTables(f, args)
	}
}

func (s *stage) familyTables(f lab.Family, args string) string {
	s.t.Helper()
	program := map[lab.Family]string{lab.IPv4: "iptables-nft", lab.IPv6: "ip6tables-nft"}[f]
	out, err := s.node1.Output(s.t.Context(), program, strings.Fields("-w "+args)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// way is how somebody gets to pods.
type way struct {
	from *lab.Host
	to   netip.AddrPort
	pods []*lab.Host
}

// ways are all to Service web, whose external traffic goes anywhere, and to Service local, where outsiders get to this node's pod only.
func (s *stage) ways(here, there *lab.Host) []way {
	var list []way
	both := []*lab.Host{here, there}
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			ofLocal := both
			if from == s.Outside {
				ofLocal = both[:1]
			}
			list = append(list, way{from, vip(f, 10, 80), both}, way{from, balancerIP(f, 10, 80), both}, way{from, balancerIP(f, 11, 80), ofLocal})
		}
	}
	return list
}

// TestConnectionsGoOnThoughAnotherProgramAcceptsThemFirst, before any rule of ours in the same table is asked: as Calico does it.
func TestConnectionsGoOnThoughAnotherProgramAcceptsThemFirst(t *testing.T) {
	s, here, there := balancedStage(t)
	s.balance("web", 10, corev1.ServiceExternalTrafficPolicyCluster, here, there)
	s.balance("local", 11, corev1.ServiceExternalTrafficPolicyLocal, here, there)
	s.start()
	ways := s.ways(here, there)
	old := &lines{s, map[string]*lab.Conn{}}
	flows := map[string]*flow{}
	for _, w := range ways {
		old.open("old", w.from, w.to, w.pods...)
		flows[w.from.Name+" to "+w.to.String()] = s.flow(w.from, w.to)
	}
	// who answers each flow: a flow stays with its endpoint.
	by := map[string]netip.Addr{}
	for name, flow := range flows {
		s.Eventually(name+" is answered", func() (err error) {
			by[name], err = flow.ask()
			return err
		})
	}
	const accept = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
	s.tables("-t mangle -I PREROUTING 1 " + accept)
	const rounds = 4
	again := func(all *lines) {
		t.Helper()
		for i := range rounds {
			all.echo(t, fmt.Sprintf("echo %d", i))
			for name, flow := range flows {
				if is, err := flow.ask(); err != nil || is != by[name] {
					t.Errorf("round %d: UDP, %s: %s answers, want %s; error %v", i, name, is, by[name], err)
				}
			}
			if t.Failed() {
				t.FailNow() // all that follows would take its time to fail
			}
			time.Sleep(300 * time.Millisecond)
		}
	}
	again(old)
	for _, w := range ways {
		for _, network := range []string{"tcp", "udp"} {
			if err := s.tell(w.from, network, w.to, w.pods...); err != nil {
				t.Errorf("new over %s: %v", network, err)
			}
		}
		old.open("new", w.from, w.to, w.pods...)
	}
	again(old)
	for _, f := range lab.Families {
		first := strings.Split(s.familyTables(f, "-t mangle -S PREROUTING"), "\n")[1]
		if !strings.Contains(first, "ESTABLISHED") {
			t.Errorf("%s: the rule is not the first one any more, so that this test shows nothing; %s is", f, first)
		}
	}
}

// TestConnectionsGoOnWhenTheExternalTrafficPolicyChanges as long as they are at an endpoint of the Service; an outsider's has to be at one of
// this node, as nobody else's may come here.
func TestConnectionsGoOnWhenTheExternalTrafficPolicyChanges(t *testing.T) {
	s, here, there := balancedStage(t)
	all := &lines{s, map[string]*lab.Conn{}}
	both := []*lab.Host{here, there}
	anywhere, local := corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal
	s.balance("web", 10, anywhere, here, there)
	s.start()
	for i, policy := range []corev1.ServiceExternalTrafficPolicy{anywhere, local, anywhere, local} {
		name := fmt.Sprintf("%d: %s", i, policy)
		t.Run(name, func(t *testing.T) {
			s.balance("web", 10, policy, here, there)
			outside := both
			if policy == local {
				outside = both[:1]
			}
			for _, f := range lab.Families {
				to := balancerIP(f, 10, 80)
				s.Eventually("outsiders get to the endpoints of "+name, func() error { return s.tell(s.Outside, "tcp", to, outside...) })
				all.echo(t, f.String()+" has changed")
				for _, from := range []*lab.Host{s.client, s.node1} {
					if err := s.tell(from, "tcp", to, both...); err != nil {
						t.Error(err)
					}
					all.open(name, from, to, both...)
					all.open(name, from, vip(f, 10, 80), both...)
				}
				all.open(name, s.Outside, to, here)
			}
			time.Sleep(1500 * time.Millisecond) // one look at the kernel, which retires what nobody needs
			all.echo(t, "later")
		})
	}
	if n := s.Log.Count("Repairing"); n > 0 {
		t.Errorf("Fairlead repairs %d times", n)
	}
}

// TestAnInputPolicyOfDropLetsMasqueradedClientsThrough as it does where a Service's packets are forwarded, and never see that policy.
func TestAnInputPolicyOfDropLetsMasqueradedClientsThrough(t *testing.T) {
	s, here, there := balancedStage(t)
	svc, _ := balanced("web", 10, corev1.ServiceExternalTrafficPolicyCluster)
	for i := range svc.Spec.Ports {
		svc.Spec.Ports[i].NodePort = 30080
	}
	s.Write("web", svc)
	s.behind("web", endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
	s.Serve(s.node1, 2222)
	s.start()
	// Or IPv6 finds no neighbor, to whom it sends nothing then.
	for _, kind := range []string{"neighbour-solicitation", "neighbour-advertisement"} {
		s.familyTables(lab.IPv6, "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type "+kind+" -j ACCEPT")
	}
	s.tables("-P INPUT DROP")
	all := &lines{s, map[string]*lab.Conn{}}
	for _, f := range lab.Families {
		if answer, err := s.Outside.Ask(t.Context(), "tcp", s.node1.AddrPort(f, 2222)); err == nil {
			t.Errorf("the policy keeps nobody out: %v", errAnswered(answer))
		}
		for _, to := range []netip.AddrPort{s.node1.AddrPort(f, 30080), balancerIP(f, 10, 80)} {
			for _, network := range []string{"tcp", "udp"} {
				if err := s.tell(s.Outside, network, to, here, there); err != nil {
					t.Errorf("%s: %v", network, err)
				}
			}
			all.open("under the policy", s.Outside, to, here, there)
		}
	}
	const echoes = 30
	for i := range echoes {
		all.echo(t, fmt.Sprintf("echo %d", i))
		if t.Failed() {
			break
		}
	}
}

// eventsOf are the messages of all events with a reason.
func (s *stage) eventsOf(reason string) (messages []string) {
	pattern := regexp.MustCompile(`"Event" service="[^"]*" reason="` + reason + `" message="(.*)"`)
	for _, found := range pattern.FindAllStringSubmatch(s.Log.String(), -1) {
		messages = append(messages, found[1])
	}
	return messages
}

// TestAnEndpointThatTheKernelRefusesHoldsUpNothing: IPVS takes no broadcast address, and the API server takes any.
func TestAnEndpointThatTheKernelRefusesHoldsUpNothing(t *testing.T) {
	s, here, there := balancedStage(t)
	const broadcast = "172.30.0.255"
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.Write("other", site.DualStack("other", 11, webPorts...))
	s.behind("web", endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
	s.behind("other", endpoint{here, s.node1, ""})
	s.Write("refused", servicetest.Slice("web", "web-refused", podPorts, broadcast+"@"+s.node2.Name))
	// It has a virtual server for each protocol; this one has one only, in one slice with the refused endpoint.
	s.Write("single", site.DualStack("single", 12, webPorts[0]))
	single := func(pod, node *lab.Host) {
		s.Write("behind-single", servicetest.Slice("single", "single-0", podPorts[:1], site.At(lab.IPv4, pod, node), broadcast+"@"+s.node2.Name))
	}
	single(here, s.node1)
	s.start()
	s.Eventually("it is named", func() error {
		if messages := s.eventsOf("EndpointRefused"); len(messages) == 0 || !strings.Contains(messages[0], broadcast) {
			return fmt.Errorf("there are events %q", messages)
		}
		return nil
	})
	served := func() {
		t.Helper()
		for _, f := range lab.Families {
			for _, network := range []string{"tcp", "udp"} {
				for _, from := range []*lab.Host{s.client, s.node1} {
					if err := s.tell(from, network, vip(f, 10, 80), here, there); err != nil {
						t.Errorf("%s: %v", network, err)
					}
				}
			}
		}
	}
	served()
	// Another Service changes, and then those with the refused endpoint.
	for i := range 4 {
		pod, node := here, s.node1
		if i%2 == 0 {
			pod, node = there, s.node2
		}
		start := time.Now()
		s.behind("other", endpoint{pod, node, ""}) // and nothing else
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, 11, 80), pod)
		}
		if took := time.Since(start); took > site.Patience(2*time.Second) {
			t.Errorf("change %d of another Service took %v", i, took)
		}
		s.behind("web", endpoint{pod, node, ""})
		single(pod, node)
		s.served(s.client, "tcp", vip(lab.IPv4, 12, 80), pod)
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, 10, 80), pod)
		}
	}
	s.behind("web", endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
	s.Eventually("both are back", func() error {
		return errors.Join(s.tell(s.client, "tcp", vip(lab.IPv4, 10, 80), here, there), s.tell(s.client, "tcp", vip(lab.IPv6, 10, 80), here, there))
	})
	time.Sleep(2500 * time.Millisecond) // two looks at the kernel, which find nothing to repair
	served()
	for _, text := range []string{"Repairing", "Could not"} {
		if n := s.Log.Count(text); n > 0 {
			t.Errorf("Fairlead says %q %d times", text, n)
		}
	}
	t.Run("it is named once for each of the two Services", func(t *testing.T) {
		said := map[string]int{}
		for _, message := range s.eventsOf("EndpointRefused") {
			said[message]++
		}
		for message, times := range said {
			if times != 2 {
				t.Errorf("%d times: %s", times, message)
			}
		}
	})
}

// TestTheNodeSeesItselfAsItself where it is an endpoint, of which nobody says on which node it is, and so may be one of a pod that reaches
// itself: that is masqueraded, and the node's own connections past all Services must not be.
func TestTheNodeSeesItselfAsItself(t *testing.T) {
	s := newStage(t)
	s.Serve(s.node1, 8080)
	s.Serve(s.node1, 2222)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	for _, f := range lab.Families {
		s.Write("behind-"+f.String(), servicetest.Slice("web", "web-"+strings.ToLower(f.String()), podPorts, s.node1.Address(f).String()))
	}
	s.start()
	for _, f := range lab.Families {
		s.Eventually("the node is one of those who may reach themselves", func() error {
			things, err := s.kernel.things()
			if err != nil {
				return err
			}
			for _, line := range things {
				if strings.HasPrefix(line, fmt.Sprintf("set FLV%d-HAIRPIN: %s/", f, s.node1.Address(f))) {
					return nil
				}
			}
			return fmt.Errorf("there are:\n%s", strings.Join(things, "\n"))
		})
		for _, network := range []string{"tcp", "udp"} {
			s.served(s.client, network, vip(f, 10, 80), s.node1)
			s.served(s.node1, network, vip(f, 10, 80), s.node1)
			for _, to := range []netip.AddrPort{s.node1.AddrPort(f, 2222), s.node1.AddrPort(f, 8080)} {
				for i := range 5 {
					from := s.node1.AddrPort(f, uint16(42000+i))
					answer, err := s.node1.Ask(t.Context(), network, to, lab.Reset(), lab.From(from))
					if err != nil || answer.Client != from {
						t.Errorf("%s from %s to %s: the listener sees %s, error %v", network, from, to, answer.Client, err)
					}
				}
			}
		}
	}
}
