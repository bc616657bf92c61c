package packets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// expectation is what one question has to lead to.
type expectation struct {
	name    string
	network string
	from    *lab.Host
	to      netip.AddrPort
	servers []netip.AddrPort // every one of them has to answer within some questions, and nobody else
	sees    func(client netip.Addr) error
	err     error
}

func is(want ...netip.Addr) func(netip.Addr) error {
	return func(client netip.Addr) error {
		for _, w := range want {
			if client == w {
				return nil
			}
		}
		return fmt.Errorf("the server sees %s, not one of %s", client, want)
	}
}

func not(unwanted netip.Addr) func(netip.Addr) error {
	return func(client netip.Addr) error {
		if client == unwanted {
			return fmt.Errorf("the server sees %s", client)
		}
		return nil
	}
}

// check asks until all is clear. While the Service may not be in force yet, each question has to be a short attempt.
func (e expectation) check(ctx context.Context, opts ...lab.AskOption) error {
	const questions = 40
	if errors.Is(e.err, lab.ErrTimeout) {
		opts = append(opts, lab.Timeout(lab.Silence))
	}
	missing := map[netip.AddrPort]bool{}
	for _, s := range e.servers {
		missing[s] = true
	}
	for range questions {
		answer, err := e.from.AskPromptly(ctx, e.network, e.to, opts...)
		if e.err != nil {
			if !errors.Is(err, e.err) {
				return fmt.Errorf("got %v and error %w, want error %w", answer.Server, err, e.err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if _, possible := missing[answer.Server]; !possible {
			return fmt.Errorf("%s answered", answer.Server)
		}
		missing[answer.Server] = false
		if e.sees != nil {
			if err := e.sees(answer.Client.Addr()); err != nil {
				return fmt.Errorf("through %s: %w", answer.Server, err)
			}
		}
	}
	for s, m := range missing {
		if m {
			return fmt.Errorf("%s never answered in %d questions", s, questions)
		}
	}
	return nil
}

// TestEveryWayIn sends packets by every way in that a Service has, and beside all of them.
func TestEveryWayIn(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		node1, node2 := s.Nodes[0], s.Nodes[1]
		here, there := s.Pod(node1, "here", 8080), s.Pod(node2, "there", 8080)
		alone, client := s.Pod(node1, "alone", 8080), s.Pod(node1, "client", 9000)
		far := s.Pod(node2, "far", 9000)

		web := site.DualStack("web", 10, "http:80=30080", "dns:53/UDP=30053")
		web.Spec.ExternalIPs = []string{"198.51.100.7", "2001:db8::7"}
		objects := []runtime.Object{web, site.DualStack("alone", 11, "80"), site.DualStack("empty", 12, "80=30081", "dns:53/UDP")}
		for _, f := range lab.Families {
			slice := site.Slice(f, "web", "http:8080", site.At(f, here, node1), site.At(f, there, node2))
			dns := site.Slice(f, "web", "dns:8080/UDP", site.At(f, here, node1), site.At(f, there, node2))
			dns.Name += "-dns"
			objects = append(objects, slice, dns, site.Slice(f, "alone", "8080", site.At(f, alone, node1)))
		}
		s.Write("all", objects...)
		s.Start()
		for _, f := range lab.Families {
			s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
			t.Run(f.String(), func(t *testing.T) {
				both := []netip.AddrPort{here.AddrPort(f, 8080), there.AddrPort(f, 8080)}
				vip := func(n int, port uint16) netip.AddrPort { return netip.AddrPortFrom(site.ClusterIP(f, n), port) }
				external := netip.AddrPortFrom(netip.MustParseAddr(map[lab.Family]string{lab.IPv4: "198.51.100.7", lab.IPv6: "2001:db8::7"}[f]), 80)
				gateway := map[lab.Family]netip.Addr{lab.IPv4: netip.MustParseAddr("10.244.1.1"), lab.IPv6: netip.MustParseAddr("fd00:10:244:1::1")}[f]
				nodes := is(node1.Address(f), gateway) // towards its own pods the node has its address on the pod network
				expectations := []expectation{
					{"a pod keeps its address through a cluster IP", "tcp", client, vip(10, 80), both, is(client.Address(f)), nil},
					{"and over UDP", "udp", client, vip(10, 53), both, is(client.Address(f)), nil},
					{"the node itself reaches a cluster IP, as the node", "tcp", node1, vip(10, 80), both, nodes, nil},
					{"and over UDP", "udp", node1, vip(10, 53), both, nodes, nil},
					{"an outsider is masqueraded through a node port", "tcp", s.Outside, node1.AddrPort(f, 30080), both, nodes, nil},
					{"and over UDP", "udp", s.Outside, node1.AddrPort(f, 30053), both, nodes, nil},
					{"a pod uses a node port", "tcp", client, node1.AddrPort(f, 30080), both, nodes, nil},
					{"the node uses its own node port", "tcp", node1, node1.AddrPort(f, 30080), both, nodes, nil},
					{"an external IP answers a pod", "tcp", client, external, both, nodes, nil},
					{"a pod that reaches itself through a Service sees somebody else", "tcp", alone, vip(11, 80), []netip.AddrPort{alone.AddrPort(f, 8080)}, not(alone.Address(f)), nil},
					{"no endpoint is a refusal for a pod", "tcp", client, vip(12, 80), nil, nil, lab.ErrRefused},
					{"no endpoint is a refusal over UDP", "udp", client, vip(12, 53), nil, nil, lab.ErrRefused},
					{"no endpoint is a refusal for the node", "tcp", node1, vip(12, 80), nil, nil, lab.ErrRefused},
					{"no endpoint is a refusal at a node port", "tcp", s.Outside, node1.AddrPort(f, 30081), nil, nil, lab.ErrRefused},
					{"a port that no Service has is nobody's", "tcp", client, vip(10, 81), nil, nil, lab.ErrTimeout},
					{"pod to pod on one node keeps both addresses", "tcp", client, here.AddrPort(f, 8080), both[:1], is(client.Address(f)), nil},
					{"pod to pod across nodes keeps both addresses", "tcp", client, there.AddrPort(f, 8080), both[1:], is(client.Address(f)), nil},
					{"and back", "tcp", far, here.AddrPort(f, 8080), both[:1], is(far.Address(f)), nil},
					{"localhost in a pod stays in the pod", "tcp", here, lab.Loopback(f, 8080), []netip.AddrPort{lab.Loopback(f, 8080)}, is(lab.Loopback(f, 0).Addr()), nil},
				}
				for _, e := range expectations {
					t.Run(e.name, func(t *testing.T) {
						if err := e.check(t.Context()); err != nil {
							t.Error(err)
						}
					})
				}
			})
		}
	})
}
