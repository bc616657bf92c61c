package packets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
)

// TestConnectionsOutliveChanges keeps a connection and makes new ones while endpoints come and go and Fairlead restarts.
func TestConnectionsOutliveChanges(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		node1, node2 := s.Nodes[0], s.Nodes[1]
		first, second, client := s.Pod(node1, "first", 8080), s.Pod(node2, "second", 8080), s.Pod(node1, "client", 9000)
		s.Write("web", site.DualStack("web", 10, "80"))
		slices := func(pods map[*lab.Host]*lab.Host) {
			for _, f := range lab.Families {
				var endpoints []string
				for pod, node := range pods {
					endpoints = append(endpoints, site.At(f, pod, node))
				}
				s.Write("slice-"+f.String(), site.Slice(f, "web", "8080", endpoints...))
			}
		}
		slices(map[*lab.Host]*lab.Host{first: node1})
		s.Start()
		for _, f := range lab.Families {
			s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
		}
		standing := map[lab.Family]*lab.Conn{}
		for _, f := range lab.Families {
			conn, err := client.Connect(t.Context(), netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			standing[f] = conn
		}
		steps := []struct {
			name    string
			do      func()
			servers []*lab.Host // who has to answer new connections from then on
		}{
			{"an endpoint comes", func() { slices(map[*lab.Host]*lab.Host{first: node1, second: node2}) }, []*lab.Host{first, second}},
			{"the first one goes", func() { slices(map[*lab.Host]*lab.Host{second: node2}) }, []*lab.Host{second}},
			{"all are gone", func() { slices(nil) }, nil},
			{"the first one is back", func() { slices(map[*lab.Host]*lab.Host{first: node1}) }, []*lab.Host{first}},
			{"Fairlead ends", func() { s.Stop(syscall.SIGTERM) }, []*lab.Host{first}},
			{"Fairlead is back", func() { s.Start() }, []*lab.Host{first}},
			{"Fairlead is killed", func() { s.Stop(syscall.SIGKILL) }, []*lab.Host{first}},
			{"endpoints change while it is away", func() {
				slices(map[*lab.Host]*lab.Host{second: node2})
				s.Start()
			}, []*lab.Host{second}},
		}
		for _, step := range steps {
			t.Run(step.name, func(t *testing.T) {
				step.do()
				for _, f := range lab.Families {
					to := netip.AddrPortFrom(site.ClusterIP(f, 10), 80)
					e := expectation{network: "tcp", from: client, to: to}
					for _, server := range step.servers {
						e.servers = append(e.servers, server.AddrPort(f, 8080))
					}
					if step.servers == nil {
						e.err = lab.ErrRefused
					}
					s.Eventually(f.String(), func() error { return e.check(t.Context(), lab.Timeout(lab.AttemptTimeout)) })
					if err := standing[f].Echo(t.Context(), "still there"); err != nil {
						t.Errorf("the standing connection: %v", err)
					}
				}
			})
		}
	})
}

// TestNoConnectionFailsWhileEndpointsAreReplaced replaces every endpoint one by one by many others, under steady connections; a
// pod lives on when it has left the Service.
func TestNoConnectionFailsWhileEndpointsAreReplaced(t *testing.T) {
	variants := []string{"nft"}
	if tier.Soak {
		variants = site.Variants
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) { replaceEndpoints(t, site.New(t, variant), tier.Count(20, 50)) })
	}
}

func replaceEndpoints(t *testing.T, s *site.Site, replaced int) {
	const kept = 4
	client := s.Pod(s.Node(), "client", 9000)
	var pods []*lab.Host
	for i := range kept + replaced {
		pods = append(pods, s.Pod(s.Nodes[i%2], fmt.Sprintf("pod-%d", i), 8080))
	}
	s.Write("web", site.DualStack("web", 10, "80"))
	window := func(from int) {
		for _, f := range lab.Families {
			var endpoints []string
			for i := from; i < from+kept; i++ {
				endpoints = append(endpoints, site.At(f, pods[i], s.Nodes[i%2]))
			}
			s.Write("slice-"+f.String(), site.Slice(f, "web", "8080", endpoints...))
		}
	}
	window(0)
	s.Start(site.ModeFlag("min-sync-period"), "0")
	callers := map[lab.Family]*caller{}
	for _, f := range lab.Families {
		to := netip.AddrPortFrom(site.ClusterIP(f, 10), 80)
		s.Answers(client, "tcp", to)
		callers[f] = call(t, client, to)
	}
	for from := 1; from+kept <= len(pods); from++ {
		window(from)
		for f, c := range callers {
			newest, before := pods[from+kept-1].AddrPort(f, 8080), c.total()
			s.Eventually(fmt.Sprintf("%s: %s answers", f, newest), func() error { return c.hasReached(newest, before) })
		}
	}
	for _, c := range callers {
		if err := c.end(); err != nil {
			t.Errorf("a connection failed: %v", err)
		}
		t.Logf("%d connections", c.total())
	}
}

// caller connects to a Service again and again until a connection fails.
type caller struct {
	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.Mutex
	counts map[netip.AddrPort]int // connections, by server
	err    error
}

func call(t *testing.T, from *lab.Host, to netip.AddrPort) *caller {
	ctx, stop := context.WithCancel(t.Context())
	c := &caller{stop: stop, ended: make(chan struct{}), counts: map[netip.AddrPort]int{}}
	go func() {
		defer close(c.ended)
		for ctx.Err() == nil && c.err == nil {
			// Not ctx: a connection that has begun has to end well.
			answer, err := from.AskPromptly(context.Background(), "tcp", to, lab.Reset())
			c.mu.Lock()
			c.counts[answer.Server]++
			c.err = err
			c.mu.Unlock()
		}
	}()
	return c
}

// hasReached checks that a server has answered, and that there have been some connections more than before. It is content when one
// has failed, as there are no more to come.
func (c *caller) hasReached(server netip.AddrPort, before int) error {
	const some = 50
	total := c.total()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil
	case c.counts[server] == 0:
		return errors.New("it has not")
	case total < before+some:
		return fmt.Errorf("only %d connections since", total-before)
	}
	return nil
}

func (c *caller) total() (sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.counts {
		sum += n
	}
	return sum
}

// end waits for the last connection, and returns why one failed.
func (c *caller) end() error {
	c.stop()
	<-c.ended
	return c.err
}
