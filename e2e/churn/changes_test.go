package churn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// churners is how many write at once, each its own Services.
const churners = 4

// churnFlags let Fairlead sync as often as it can and look for drift all the time.
var churnFlags = []string{site.ModeFlag("min-sync-period"), "100ms", site.ModeFlag("sync-period"), "1s"}

// TestChangesLeaveNothingBehind makes random changes under connections to Services that do not change. None of these may fail,
// nothing may be left behind, and the rules must be those that a new Fairlead makes of the same objects. The seed is fixed: this
// test is to find what a change to the program breaks, and TestChurn what is rare.
func TestChangesLeaveNothingBehind(t *testing.T) {
	const rounds, changes, seed = 5, 12, 1
	c := newChurn(t, "nft", seed)
	c.start()
	for range rounds {
		c.change(changes)
		c.awaitAll() // so that every machine syncs often enough to show what is lost by each sync
	}
	c.leavesNothingBehind()
}

// churn is a cluster whose Services change at random, except for some that carry steady traffic.
type churn struct {
	*cluster
	client *lab.Host
	pods   []pod // that all Services share
	ways   []way // to the Services that do not change
	busy   [churners][]*busy
	random [churners]*rand.Rand

	process *lab.Process
	traffic *traffic
	calm    func() // ends disturb
	awaited int    // how often awaitAll has been called
}

func newChurn(t *testing.T, variant string, seed uint64) *churn {
	t.Helper()
	t.Logf("seed %d", seed)
	c := &churn{cluster: newCluster(t, variant)}
	c.addPods()
	c.ways = c.addSteady(c.client, c.pods)
	for i := range churners {
		c.random[i] = rand.New(rand.NewPCG(seed, uint64(i)))
		for n := i; n < busyServices; n += churners {
			c.busy[i] = append(c.busy[i], newBusy(c.cluster, c.random[i], c.pods, n))
		}
	}
	return c
}

// addPods makes a client and the pods: one with many addresses on each node, the first two being the pods themselves.
func (c *churn) addPods() {
	c.t.Helper()
	const perNode = 60
	var more []pod
	for i, node := range c.Nodes {
		host := c.Pod(node, fmt.Sprintf("pods-%d", i), 8080)
		c.Serve(host, 8081)
		c.pods = append(c.pods, pod{host.Addresses, node})
		addresses, err := c.AddAddresses(host, perNode)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, a := range addresses {
			more = append(more, pod{a, node})
		}
	}
	c.pods = append(c.pods, more...)
	c.client = c.Pod(c.Node(), "client", 9000)
}

// start starts Fairlead, the steady traffic, and connections to what is going to change.
func (c *churn) start() {
	c.t.Helper()
	c.process = c.fairlead(churnFlags...)
	c.answer(c.ways)
	control := way{c.client, "tcp", c.pods[1].AddrPort(lab.IPv4, 8080)}
	c.traffic = startTraffic(c.t, 10*time.Millisecond, control, c.ways...)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.disturb(ctx) })
	c.calm = func() { stop(); running.Wait() }
	c.t.Cleanup(c.calm)
}

// change makes so many random changes, the same number by each churner.
func (c *churn) change(changes int) {
	c.t.Helper()
	var running sync.WaitGroup
	var errs [churners]error
	for i := range churners {
		running.Go(func() { errs[i] = c.changeSome(i, changes/churners) })
	}
	running.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		c.t.Fatal(err)
	}
}

// changeSome changes the Services of one churner, mostly in a hurry, and now and then after a quiet time.
func (c *churn) changeSome(churner, changes int) error {
	random, services := c.random[churner], c.busy[churner]
	for n := range changes {
		if err := services[random.IntN(len(services))].change(c.t.Context()); err != nil {
			return fmt.Errorf("change %d of churner %d: %w", n, churner, err)
		}
		pause := time.Duration(random.IntN(50)) * time.Millisecond
		if random.IntN(200) == 0 {
			pause += time.Second
		}
		time.Sleep(pause)
	}
	return nil
}

// disturb connects to what changes, which may fail, so that the kernel has connections and lists of clients that have to go.
func (c *churn) disturb(ctx context.Context) {
	for ctx.Err() == nil {
		f, network := lab.Families[rand.IntN(2)], []string{"tcp", "udp"}[rand.IntN(2)]
		from, to := c.client, netip.AddrPortFrom(site.ClusterIP(f, firstBusyIP+rand.IntN(busyServices)), []uint16{80, 443, 53}[rand.IntN(3)])
		if rand.IntN(2) == 0 {
			from, to = c.Outside, c.Node().AddrPort(f, uint16(31000+rand.IntN(busyServices*len(busyPorts))))
		}
		_, _ = from.Ask(ctx, network, to, lab.Reset(), lab.Timeout(50*time.Millisecond))
	}
}

// leavesNothingBehind waits until the last change is in force, and compares what there is with what a new Fairlead makes.
func (c *churn) leavesNothingBehind() {
	c.t.Helper()
	c.calm()
	c.awaitAll()
	settled := c.settled()
	c.traffic.end()
	c.t.Logf("%d connections; %d syncs; %d lists of clients and %d ipsets at the end",
		c.traffic.total(), c.Log.Count(`"Synced"`), len(settled.lists), len(settled.sets))
	if err := settled.leaks(); err != nil {
		c.t.Error(err)
	}
	c.quiet()
	c.anew(settled, c.dumped(c.process))
}

// awaitAll makes one more change of a Service and of slices. Fairlead gets them after all others, so when they are in force, no
// other change is still to come.
func (c *churn) awaitAll() {
	c.t.Helper()
	const lastIP = 12
	port, pod := uint16(1000+c.awaited), c.pods[c.awaited%2]
	svc := dualStack("last", lastIP, fmt.Sprint(port))
	if err := c.putService(c.t.Context(), svc, c.awaited == 0); err != nil {
		c.t.Fatal(err)
	}
	for _, f := range lab.Families {
		slice := site.Slice(f, svc.Name, "8080", pod.at(f))
		was := slice
		if c.awaited == 0 {
			was = nil
		}
		if err := c.putSlice(c.t.Context(), was, slice); err != nil {
			c.t.Fatal(err)
		}
	}
	c.awaited++
	for _, f := range lab.Families {
		to := netip.AddrPortFrom(site.ClusterIP(f, lastIP), port)
		c.Answers(c.client, "tcp", to)
		c.Eventually(fmt.Sprintf("%s leads to %s", to, pod.AddrPort(f, 8080)), func() error {
			answer, err := c.client.Ask(c.t.Context(), "tcp", to, lab.Reset(), lab.Timeout(lab.AttemptTimeout))
			if err == nil && answer.Server != pod.AddrPort(f, 8080) {
				err = fmt.Errorf("%s answered", answer.Server)
			}
			return err
		})
	}
}
