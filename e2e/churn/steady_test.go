package churn

import (
	"cmp"
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

// traffic is connections by some ways, one after the other by each. None of them may fail, nor be held up by lost packets.
type traffic struct {
	t       *testing.T
	stop    context.CancelFunc
	running sync.WaitGroup
	made    []int // connections, by way
	control control
	report  sync.Once
}

// startTraffic connects by each way again and again, with a pause in between, and by the control way, which goes to a pod directly.
func startTraffic(t *testing.T, pause time.Duration, controlWay way, ways ...way) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	tr := &traffic{t: t, stop: stop, made: make([]int, len(ways)), control: control{way: controlWay}}
	t.Cleanup(tr.end)
	for i, w := range ways {
		tr.running.Go(func() { tr.made[i] = tr.connect(ctx, w, pause) })
	}
	tr.running.Go(func() { tr.control.connect(ctx, pause) })
	return tr
}

// connect goes on after a failure, to see whether it is the only one, but not for ever.
func (tr *traffic) connect(ctx context.Context, w way, pause time.Duration) (made int) {
	const enough = 10
	for failed := 0; ctx.Err() == nil && failed < enough; made++ {
		// Not ctx: a connection that has begun has to end well.
		if _, err := w.from.AskPromptly(context.Background(), w.network, w.to, lab.Reset()); err != nil {
			failed++
			tr.t.Errorf("%s: connection %d of %s: %v", time.Now().Format(clock), made, w, err)
		}
		sleep(ctx, pause)
	}
	return made
}

func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// end stops the traffic, and reports the control.
func (tr *traffic) end() {
	tr.stop()
	tr.running.Wait()
	tr.report.Do(func() { tr.t.Log(&tr.control) })
}

// control connects past all Services and asserts nothing: if the others fail, it tells whether the machine stood still.
type control struct {
	way          way
	made, resent int
	slowest      time.Duration
	slowestAt    time.Time
	failed       int
	failure      error // the first one
}

func (c *control) connect(ctx context.Context, pause time.Duration) {
	for ; ctx.Err() == nil; c.made++ {
		start := time.Now()
		answer, err := c.way.from.Ask(context.Background(), c.way.network, c.way.to, lab.Reset())
		if err != nil {
			c.failed++
			c.failure = cmp.Or(c.failure, fmt.Errorf("%s: connection %d: %w", start.Format(clock), c.made, err))
		}
		c.resent += answer.Resent
		if took := time.Since(start); took > c.slowest {
			c.slowest, c.slowestAt = took, start
		}
		sleep(ctx, pause)
	}
}

func (c *control) String() string {
	return fmt.Sprintf("control, %s: %d connections, the slowest took %v at %s; %d packets were sent again; %d connections failed, first: %v",
		c.way, c.made, c.slowest, c.slowestAt.Format(clock), c.resent, c.failed, c.failure)
}

// clock is how times are written.
const clock = "15:04:05.000"

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
