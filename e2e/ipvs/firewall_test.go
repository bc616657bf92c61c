//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

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

// way is a way to pods.
type way struct {
	from *lab.Host
	to   netip.AddrPort
	pods []*lab.Host
}

// ways are all ways to Service web, whose external traffic goes anywhere, and to Service local, where outsiders get to this node's pod only.
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

// TestConnectionsGoOnThoughAnotherProgramAcceptsThemFirst: Calico has a rule that accepts them before any of Fairlead's in the same table.
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
	// The endpoint that answers each flow: a flow stays with it.
	by := map[string]netip.Addr{}
	for name, flow := range flows {
		s.Eventually(name+" is answered", func() (err error) {
			by[name], err = flow.ask(lab.AttemptTimeout)
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
				if is, err := flow.ask(lab.AnswerTimeout); err != nil || is != by[name] {
					t.Errorf("round %d: UDP, %s: %s answers, want %s; error %v", i, name, is, by[name], err)
				}
			}
			if t.Failed() {
				t.FailNow() // all that follows would fail too, each after its timeout
			}
			s.Verified(1)
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

// TestAnInputPolicyOfDropLetsMasqueradedClientsThrough, as in iptables mode, where a Service's packets are forwarded and do not pass INPUT.
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
	// Otherwise neighbor discovery fails, and IPv6 sends nothing.
	for _, kind := range []string{"neighbour-solicitation", "neighbour-advertisement"} {
		s.familyTables(lab.IPv6, "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type "+kind+" -j ACCEPT")
	}
	s.tables("-P INPUT DROP")
	all := &lines{s, map[string]*lab.Conn{}}
	for _, f := range lab.Families {
		if answer, err := s.Outside.Ask(t.Context(), "tcp", s.node1.AddrPort(f, 2222), lab.Timeout(lab.Silence)); err == nil {
			t.Errorf("the policy drops nothing: %v", errAnswered(answer))
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
