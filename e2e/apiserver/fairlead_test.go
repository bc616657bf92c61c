package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

// cluster is a site whose Fairlead follows a real API server, which runs at the backbone.
type cluster struct {
	*site.Site
	t      *testing.T
	plane  *apiserver.ControlPlane
	client kubernetes.Interface
}

func newCluster(t *testing.T, variant string) *cluster {
	t.Helper()
	s := site.New(t, variant)
	plane := s.ControlPlane()
	client, err := kubernetes.NewForConfig(plane.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Site: s, t: t, plane: plane, client: client}
}

// start runs Fairlead with no more rights than kube-proxy has.
func (c *cluster) start(flags ...string) {
	c.t.Helper()
	c.StartOn(append([]string{"--kubeconfig", c.Kubeconfig(c.plane)}, flags...)...)
}

func (c *cluster) create(objects ...any) {
	c.t.Helper()
	for _, o := range objects {
		var err error
		switch o := o.(type) {
		case *corev1.Service:
			_, err = c.client.CoreV1().Services(o.Namespace).Create(c.t.Context(), o, metav1.CreateOptions{})
		case *discoveryv1.EndpointSlice:
			_, err = c.client.DiscoveryV1().EndpointSlices(o.Namespace).Create(c.t.Context(), o, metav1.CreateOptions{})
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// setEndpoints replaces the endpoints of a slice.
func (c *cluster) setEndpoints(slice *discoveryv1.EndpointSlice) error {
	_, err := c.client.DiscoveryV1().EndpointSlices(slice.Namespace).Update(c.t.Context(), slice, metav1.UpdateOptions{})
	return err
}

func vip(f lab.Family, n int) netip.AddrPort { return netip.AddrPortFrom(site.ClusterIP(f, n), 80) }

// onlyServer waits until all of some questions to a virtual IP are answered by one pod.
func (c *cluster) onlyServer(client *lab.Host, to netip.AddrPort, server netip.AddrPort) {
	c.t.Helper()
	c.Eventually(fmt.Sprintf("%s leads to %s", to, server), func() error {
		for range 20 {
			answer, err := client.Ask(c.t.Context(), "tcp", to, lab.Timeout(2*time.Second))
			if err != nil {
				return err
			}
			if answer.Server != server {
				return fmt.Errorf("%s answered", answer.Server)
			}
		}
		return nil
	})
}

// refused waits until a virtual IP refuses connections.
func (c *cluster) refused(client *lab.Host, to netip.AddrPort) {
	c.t.Helper()
	c.Eventually(fmt.Sprintf("%s refuses", to), func() error {
		if _, err := client.Ask(c.t.Context(), "tcp", to); !errors.Is(err, lab.ErrRefused) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

func dualStack(name string, n int) *corev1.Service {
	svc := site.DualStack(name, n, "80")
	svc.Spec.Ports[0].Name = ""
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilyPolicy = &policy
	return svc
}

func TestFairleadFollowsTheAPIServer(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		c := newCluster(t, variant)
		first, second, client := c.Pod(c.Nodes[0], "first", 8080), c.Pod(c.Nodes[1], "second", 8080), c.Pod(c.Nodes[0], "client", 9000)
		slices := func(name string, pod, node *lab.Host) (all []any) {
			for _, f := range lab.Families {
				all = append(all, site.Slice(f, name, "8080", site.At(f, pod, node)))
			}
			return all
		}
		c.create(dualStack("web", 10))
		c.create(slices("web", first, c.Nodes[0])...)
		c.start()
		each := func(check func(f lab.Family)) {
			for _, f := range lab.Families {
				check(f)
			}
		}
		each(func(f lab.Family) { c.onlyServer(client, vip(f, 10), first.AddrPort(f, 8080)) })

		t.Log("an endpoint is replaced")
		each(func(f lab.Family) {
			if err := c.setEndpoints(site.Slice(f, "web", "8080", site.At(f, second, c.Nodes[1]))); err != nil {
				t.Fatal(err)
			}
		})
		each(func(f lab.Family) { c.onlyServer(client, vip(f, 10), second.AddrPort(f, 8080)) })

		t.Log("Services that are not ours to serve are not served")
		other := dualStack("other", 11)
		other.Labels = map[string]string{service.LabelProxyName: "another"}
		headless := servicetest.Service("headless", "None", "80")
		c.create(other, headless)
		c.create(slices("other", first, c.Nodes[0])...)

		t.Log("a Service without endpoints refuses, and answers when it gets one")
		c.create(dualStack("late", 12))
		each(func(f lab.Family) { c.refused(client, vip(f, 12)) })
		c.create(slices("late", first, c.Nodes[0])...)
		each(func(f lab.Family) { c.onlyServer(client, vip(f, 12), first.AddrPort(f, 8080)) })
		if _, err := client.Ask(t.Context(), "tcp", vip(lab.IPv4, 11)); !errors.Is(err, lab.ErrTimeout) {
			t.Errorf("another proxy's Service: got %v, want a timeout", err)
		}

		t.Log("the API server dies: what stands goes on")
		if err := c.plane.KillAPIServer(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			each(func(f lab.Family) { c.onlyServer(client, vip(f, 10), second.AddrPort(f, 8080)) })
			time.Sleep(200 * time.Millisecond)
		}

		t.Log("the API server is back: changes are followed again")
		if err := c.plane.RestartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.client.CoreV1().Services("default").Delete(t.Context(), "late", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		each(func(f lab.Family) {
			if err := c.setEndpoints(site.Slice(f, "web", "8080", site.At(f, first, c.Nodes[0]))); err != nil {
				t.Fatal(err)
			}
		})
		each(func(f lab.Family) { c.onlyServer(client, vip(f, 10), first.AddrPort(f, 8080)) })
		c.Eventually("the deleted Service is gone", func() error {
			if _, err := client.Ask(t.Context(), "tcp", vip(lab.IPv4, 12), lab.Timeout(500*time.Millisecond)); !errors.Is(err, lab.ErrTimeout) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		})
	})
}

// TestNoConnectionFailsWhenFairleadIsKilled kills Fairlead again and again at random moments while hundreds of Services change,
// so that many a sync is cut off in the middle, and keeps connecting to a Service that does not change.
func TestNoConnectionFailsWhenFairleadIsKilled(t *testing.T) {
	const services, kills = 200, 12
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		c := newCluster(t, variant)
		server, client := c.Pod(c.Nodes[1], "server", 8080), c.Pod(c.Nodes[0], "client", 9000)
		c.create(dualStack("web", 10))
		for _, f := range lab.Families {
			c.create(site.Slice(f, "web", "8080", site.At(f, server, c.Nodes[1])))
		}
		slice := func(n, endpoints int) *discoveryv1.EndpointSlice {
			var list []string
			for i := range endpoints {
				list = append(list, fmt.Sprintf("10.244.9.%d@node9", i+1))
			}
			return site.Slice(lab.IPv4, fmt.Sprintf("busy-%d", n), "8080", list...)
		}
		for n := range services {
			c.create(servicetest.Service(fmt.Sprintf("busy-%d", n), fmt.Sprintf("10.96.1.%d", n+1), "80"), slice(n, 20))
		}
		c.start(site.ModeFlag("min-sync-period"), "0")
		for _, f := range lab.Families {
			c.Answers(client, "tcp", vip(f, 10))
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			for ctx.Err() == nil {
				if err := c.setEndpoints(slice(rand.IntN(services), 1+rand.IntN(20))); err != nil && ctx.Err() == nil {
					t.Errorf("change a slice: %v", err)
					return
				}
			}
		})
		connections := make([]int, len(lab.Families))
		for i, f := range lab.Families {
			running.Go(func() {
				for ; ctx.Err() == nil; connections[i]++ {
					if _, err := client.Ask(context.Background(), "tcp", vip(f, 10), lab.Reset()); err != nil {
						t.Errorf("%s, connection %d: %v", f, connections[i], err)
						return
					}
				}
			})
		}
		for range kills {
			time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
			c.Stop(syscall.SIGKILL)
			c.start(site.ModeFlag("min-sync-period"), "0")
		}
		time.Sleep(time.Second)
		stop()
		running.Wait()
		t.Logf("%v connections", connections)

	})
}

// TestATakenHealthCheckPortIsAnEventOnTheService looks at what the owner of a Service gets to see.
func TestATakenHealthCheckPortIsAnEventOnTheService(t *testing.T) {
	const port = 32000
	c := newCluster(t, "nft")
	if _, err := c.Node().ServeTCP(lab.Wildcard(lab.IPv6, port)); err != nil {
		t.Fatal(err)
	}
	svc := servicetest.Service("balanced", site.ClusterIP(lab.IPv4, 10).String(), "80")
	svc.Spec.Type, svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = "LoadBalancer", "Local", port
	c.create(svc)
	c.start()
	c.Eventually("the event", func() error {
		events, err := c.client.CoreV1().Events(svc.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=balanced"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "FailedToStartServiceHealthcheck" && strings.Contains(e.Message, fmt.Sprint(port)) {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(events.Items))
	})
}
