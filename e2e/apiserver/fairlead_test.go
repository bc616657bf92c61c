package apiserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
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
	// A client that has not reached an API server for a while waits for up to a minute before it tries again.
	s.Patience = lab.Patience(2 * time.Minute)
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

// setEndpoints replaces the endpoints of a slice. It retries if the API server is overloaded.
func (c *cluster) setEndpoints(slice *discoveryv1.EndpointSlice) error {
	overloaded := func(err error) bool {
		return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err)
	}
	return retry.OnError(retry.DefaultBackoff, overloaded, func() error {
		_, err := c.client.DiscoveryV1().EndpointSlices(slice.Namespace).Update(c.t.Context(), slice, metav1.UpdateOptions{})
		return err
	})
}

func vip(f lab.Family, n int) netip.AddrPort { return netip.AddrPortFrom(site.ClusterIP(f, n), 80) }

// reconnected is how long a change may take to show once the API server is back. While the API server is down, client-go's
// reflectors double their back-off up to 30 s and add a random jitter of up to 100 %: a retry can be 60 s away.
var reconnected = lab.Patience(120 * time.Second)

// onlyServer asks 20 times and expects all answers from one server.
func onlyServer(server netip.AddrPort, ask func() (lab.Answer, error)) error {
	for range 20 {
		answer, err := ask()
		if err != nil {
			return err
		}
		if answer.Server != server {
			return fmt.Errorf("%s answered, want %s", answer.Server, server)
		}
	}
	return nil
}

// leadsTo waits until a virtual IP leads only to one server.
func (c *cluster) leadsTo(limit time.Duration, client *lab.Host, to, server netip.AddrPort) {
	c.t.Helper()
	c.Within(limit, fmt.Sprintf("%s leads to %s", to, server), func() error {
		return onlyServer(server, func() (lab.Answer, error) {
			return client.Ask(c.t.Context(), "tcp", to, lab.Timeout(lab.AttemptTimeout))
		})
	})
}

// refused waits until a virtual IP refuses connections.
func (c *cluster) refused(client *lab.Host, to netip.AddrPort) {
	c.t.Helper()
	c.Eventually(fmt.Sprintf("%s refuses", to), func() error {
		answer, err := client.Ask(c.t.Context(), "tcp", to, lab.Timeout(lab.AttemptTimeout))
		return failsWith(lab.ErrRefused, answer, err)
	})
}

// failsWith expects that a question has failed with an error.
func failsWith(want error, answer lab.Answer, err error) error {
	if err == nil {
		return fmt.Errorf("%s answered, want %q", answer.Server, want.Error())
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("got: %w, want %q", err, want.Error())
	}
	return nil
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
		patience := lab.Patience(60 * time.Second)
		each(func(f lab.Family) { c.leadsTo(patience, client, vip(f, 10), first.AddrPort(f, 8080)) })

		t.Log("an endpoint is replaced")
		each(func(f lab.Family) {
			if err := c.setEndpoints(site.Slice(f, "web", "8080", site.At(f, second, c.Nodes[1]))); err != nil {
				t.Fatal(err)
			}
		})
		each(func(f lab.Family) { c.leadsTo(patience, client, vip(f, 10), second.AddrPort(f, 8080)) })

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
		each(func(f lab.Family) { c.leadsTo(patience, client, vip(f, 12), first.AddrPort(f, 8080)) })
		answer, err := client.Ask(t.Context(), "tcp", vip(lab.IPv4, 11), lab.Timeout(lab.Silence))
		if err := failsWith(lab.ErrTimeout, answer, err); err != nil {
			t.Errorf("another proxy's Service: %v", err)
		}

		t.Log("the API server dies: what stands goes on")
		const gone = "Cannot reach the API server"
		before := c.Log.Count(gone)
		if err := c.plane.KillAPIServer(); err != nil {
			t.Fatal(err)
		}
		c.Eventually("Fairlead notices that the API server is gone", func() error {
			if c.Log.Count(gone) == before {
				return fmt.Errorf("its log has no new line with %q", gone)
			}
			return nil
		})
		for range 10 {
			each(func(f lab.Family) {
				err := onlyServer(second.AddrPort(f, 8080), func() (lab.Answer, error) { return client.AskPromptly(t.Context(), "tcp", vip(f, 10)) })
				if err != nil {
					t.Error(err)
				}
			})
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
		each(func(f lab.Family) { c.leadsTo(reconnected, client, vip(f, 10), first.AddrPort(f, 8080)) })
		c.Within(reconnected, "the deleted Service is gone", func() error {
			answer, err := client.Ask(t.Context(), "tcp", vip(lab.IPv4, 12), lab.Timeout(lab.Silence))
			return failsWith(lab.ErrTimeout, answer, err)
		})
	})
}

// TestNoConnectionFailsWhenFairleadIsKilled kills Fairlead again and again at random moments while hundreds of Services change,
// so that many a sync is cut off in the middle, and keeps connecting to a Service that does not change.
func TestNoConnectionFailsWhenFairleadIsKilled(t *testing.T) {
	variants := []string{"nft"}
	if tier.Soak {
		variants = site.Variants
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) { killAgainAndAgain(t, variant, tier.Count(4, 30)) })
	}
}

func killAgainAndAgain(t *testing.T, variant string, kills int) {
	const services = 200
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
	defer running.Wait()
	defer stop()
	running.Go(func() {
		for ctx.Err() == nil {
			if err := c.setEndpoints(slice(rand.IntN(services), 1+rand.IntN(20))); err != nil && ctx.Err() == nil {
				t.Errorf("change a slice: %v", err)
				return
			}
		}
	})
	connections := make([]atomic.Int64, len(lab.Families))
	for i, f := range lab.Families {
		running.Go(func() {
			for ; ctx.Err() == nil; connections[i].Add(1) {
				if _, err := client.AskPromptly(context.Background(), "tcp", vip(f, 10), lab.Reset()); err != nil {
					t.Errorf("%s, connection %d: %v", f, connections[i].Load(), err)
					return
				}
			}
		})
	}
	// Each run of Fairlead logs this once per family.
	const firstSync = "Synced for the first time"
	synced := func(times int) {
		t.Helper()
		c.Eventually("Fairlead has synced", func() error {
			if n := c.Log.Count(firstSync); n < times {
				return fmt.Errorf("its log has %q %d times, want %d", firstSync, n, times)
			}
			return nil
		})
	}
	want := len(lab.Families)
	for kill := range kills {
		// Every second time Fairlead may still be at its first sync.
		if kill%2 == 0 {
			synced(want)
		}
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
		c.Stop(syscall.SIGKILL)
		want = c.Log.Count(firstSync) + len(lab.Families)
		c.start(site.ModeFlag("min-sync-period"), "0")
	}
	synced(want)
	for i, f := range lab.Families {
		before := connections[i].Load()
		c.Eventually(fmt.Sprintf("connections go on over %s", f), func() error {
			if n := connections[i].Load() - before; n < 100 && !t.Failed() {
				return fmt.Errorf("there were %d more", n)
			}
			return nil
		})
		t.Logf("%s: %d connections", f, connections[i].Load())
	}
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

// TestAnOperatorSeesItInTheCluster looks at events on the Node, and at what a load balancer is told of a node that is about to go.
func TestAnOperatorSeesItInTheCluster(t *testing.T) {
	c := newCluster(t, "nft")
	nodes := c.client.CoreV1().Nodes()
	node, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.Node().Name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.create(dualStack("web", 10))
	c.start(site.ModeFlag("sync-period"), "1s")
	c.Serves(site.HealthzPort, "/readyz", 200)
	c.Serves(site.HealthzPort, "/healthz", 200)
	c.event("Starting", "mode")

	t.Log("drift")
	if out, err := c.Node().Output(t.Context(), "iptables-nft", "-t", "filter", "-F", "FL-NO-ENDPOINTS"); err != nil {
		t.Fatal(err, out)
	}
	c.event("DriftRepaired", "filter FL-NO-ENDPOINTS: the rules have been changed")

	t.Log("the autoscaler marks the Node")
	node.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}
	if node, err = nodes.Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Serves(site.HealthzPort, "/healthz", 503, `"nodeEligible":false`, `"healthy":true`)
	c.health("/livez", 200, "lastUpdated", "currentTime", "healthy", "status")
	c.health("/healthz", 503, "lastUpdated", "currentTime", "nodeEligible", "healthy", "status")

	t.Log("it changes its mind")
	node.Spec.Taints = nil
	if _, err = nodes.Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Serves(site.HealthzPort, "/healthz", 200)

	t.Log("the Node is deleted")
	if err := nodes.Delete(t.Context(), node.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Serves(site.HealthzPort, "/healthz", 503)
	c.Serves(site.HealthzPort, "/readyz", 200)
}

// health compares a status and the fields of a body with kube-proxy's (pkg/proxy/healthcheck/proxy_health.go).
func (c *cluster) health(path string, wantStatus int, wantFields ...string) {
	c.t.Helper()
	status, body, err := c.Get(site.HealthzPort, path)
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal([]byte(body), &fields)
	}
	if got := slices.Sorted(maps.Keys(fields)); err != nil || status != wantStatus || !slices.Equal(got, slices.Sorted(slices.Values(wantFields))) {
		c.t.Errorf("%s: status %d, fields %v, %v, want status %d and fields %v", path, status, got, err, wantStatus, wantFields)
	}
}

// event waits until there is one on the own Node.
func (c *cluster) event(reason, words string) {
	c.t.Helper()
	c.Eventually("the event "+reason, func() error {
		events, err := c.client.CoreV1().Events("").List(c.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + c.Node().Name})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == reason && strings.Contains(e.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(events.Items))
	})
}
