package churn

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// way is one way to a Service that does not change.
type way struct {
	from    *lab.Host
	network string
	to      netip.AddrPort
}

func (w way) String() string { return fmt.Sprintf("%s from %s to %s", w.network, w.from.Name, w.to) }

// traffic is connections by some ways, one after the other by each. None of them may fail.
type traffic struct {
	t       *testing.T
	stop    context.CancelFunc
	running sync.WaitGroup
	made    []int // connections, by way
}

// startTraffic connects by each way again and again, with a pause in between.
func startTraffic(t *testing.T, pause time.Duration, ways ...way) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	tr := &traffic{t: t, stop: stop, made: make([]int, len(ways))}
	t.Cleanup(tr.end)
	for i, w := range ways {
		tr.running.Go(func() { tr.made[i] = tr.connect(ctx, w, pause) })
	}
	return tr
}

// connect goes on after a failure, to see whether it is the only one, but not for ever.
func (tr *traffic) connect(ctx context.Context, w way, pause time.Duration) (made int) {
	const enough = 10
	for failed := 0; ctx.Err() == nil && failed < enough; made++ {
		// Not ctx: a connection that has begun has to end well.
		if _, err := w.from.Ask(context.Background(), w.network, w.to, lab.Reset()); err != nil {
			failed++
			tr.t.Errorf("%s: connection %d of %s: %v", time.Now().Format("15:04:05.000"), made, w, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return made
}

// end stops the traffic.
func (tr *traffic) end() {
	tr.stop()
	tr.running.Wait()
}

// total is how many connections there were, after the end.
func (tr *traffic) total() (sum int) {
	for _, n := range tr.made {
		sum += n
	}
	return sum
}

// The Services that do not change: one with a cluster IP, and one that is reached from outside.
const (
	steadyIP       = 10
	steadyPublicIP = 11
	steadyHealth   = 32500
)

var steadyLoadBalancer = lab.Addresses{IPv4: netip.MustParseAddr("192.0.2.200"), IPv6: netip.MustParseAddr("2001:db8::200")}

// addSteady makes the Services that do not change, with the given pods, one on each node, and returns the ways to them.
func (c *cluster) addSteady(client *lab.Host, pods []pod) (ways []way) {
	c.t.Helper()
	inner := dualStack("steady", steadyIP, "tcp:80", "udp:53/UDP")
	public := dualStack("public", steadyPublicIP, "tcp:80=30080", "udp:53/UDP=30053")
	public.Spec.Type = corev1.ServiceTypeLoadBalancer
	public.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	public.Spec.HealthCheckNodePort = steadyHealth
	for _, f := range lab.Families {
		public.Status.LoadBalancer.Ingress = append(public.Status.LoadBalancer.Ingress,
			corev1.LoadBalancerIngress{IP: steadyLoadBalancer.Address(f).String()})
	}
	c.createService(inner)
	c.createService(public)
	for _, f := range lab.Families {
		for _, name := range []string{inner.Name, public.Name} {
			slice := site.Slice(f, name, "tcp:8080", pods[0].at(f), pods[1].at(f))
			slice.Ports = append(slice.Ports, endpointPorts("udp:8080/UDP")...)
			c.createSlice(slice)
		}
		lb := steadyLoadBalancer.Address(f)
		if err := c.Outside.AddRoute(netip.PrefixFrom(lb, lb.BitLen()), c.Node().Address(f)); err != nil {
			c.t.Fatal(err)
		}
		ways = append(ways,
			way{client, "tcp", netip.AddrPortFrom(site.ClusterIP(f, steadyIP), 80)},
			way{client, "udp", netip.AddrPortFrom(site.ClusterIP(f, steadyIP), 53)},
			way{c.Outside, "tcp", c.Node().AddrPort(f, 30080)},
			way{c.Outside, "udp", c.Node().AddrPort(f, 30053)},
			way{c.Outside, "tcp", netip.AddrPortFrom(lb, 80)},
		)
	}
	return ways
}

// answer waits until Fairlead has set all ways up.
func (c *cluster) answer(ways []way) {
	c.t.Helper()
	for _, w := range ways {
		c.Answers(w.from, w.network, w.to)
	}
}
