package packets

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
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
					s.Eventually(f.String(), func() error { return e.check(t.Context()) })
					if err := standing[f].Echo(t.Context(), "still there"); err != nil {
						t.Errorf("the standing connection: %v", err)
					}
				}
			})
		}
	})
}

// TestNoConnectionFailsWhileEndpointsAreReplaced replaces every endpoint one by one by fifty others, under steady connections; a
// pod lives on when it has left the Service.
func TestNoConnectionFailsWhileEndpointsAreReplaced(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		client := s.Pod(s.Node(), "client", 9000)
		const kept, all = 4, 54
		var pods []*lab.Host
		for i := range all {
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
		for _, f := range lab.Families {
			s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
		}
		ctx, cancel := context.WithCancel(t.Context())
		failures := make(chan error, 2)
		for _, f := range lab.Families {
			go func() {
				var failed error
				for ctx.Err() == nil && failed == nil {
					_, failed = client.Ask(context.Background(), "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80), lab.Reset())
				}
				failures <- failed
			}()
		}
		for from := 1; from+kept <= len(pods); from++ {
			window(from)
			time.Sleep(150 * time.Millisecond)
		}
		cancel()
		for range lab.Families {
			if err := <-failures; err != nil {
				t.Errorf("a connection failed: %v", err)
			}
		}
	})
}
