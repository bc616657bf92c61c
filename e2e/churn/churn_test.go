package churn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

const (
	// churnTime is how long each variant is churned, and warmTime how long until Fairlead has its normal size.
	churnTime = time.Minute
	warmTime  = 20 * time.Second
	// churners is how many change things at once, each its own Services.
	churners = 4
)

// churnFlags let Fairlead sync as often as it can and look for drift all the time.
var churnFlags = []string{site.ModeFlag("min-sync-period"), "100ms", site.ModeFlag("sync-period"), "5s"}

// TestChurn changes everything at random, under connections to Services that do not change. None of these may fail; nothing may
// be left behind; the rules must be those that a new Fairlead makes of the same objects; and Fairlead must not grow.
func TestChurn(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		c := newCluster(t, variant)
		pods, client := c.churnPods()
		ways := c.addSteady(client, pods)
		process := c.fairlead(churnFlags...)
		c.answer(ways)
		traffic := startTraffic(t, 10*time.Millisecond, ways...)
		ctx, stop := context.WithTimeout(t.Context(), churnTime)
		defer stop()
		changes := c.churn(ctx, pods, client)
		time.Sleep(warmTime)
		warm := measure(t, process)
		made := changes()
		settled := c.settled()
		end := measure(t, process)
		traffic.end()
		t.Logf("%d changes; %d connections; %d syncs; %d lists of clients at the end", made, traffic.total(), c.Log.Count("Synced"), len(settled.lists))
		t.Logf("Fairlead after %v: %s; at the end: %s", warmTime, warm, end)
		if err := settled.leaks(); err != nil {
			t.Error(err)
		}
		flat(t, warm, end)
		c.quiet()
		goroutines := c.dumped(process)
		c.anew(settled, goroutines)
	})
}

// churnPods makes a client and the pods that all Services share: one with many addresses on each node, the first two being the
// pods themselves.
func (c *cluster) churnPods() (pods []pod, client *lab.Host) {
	c.t.Helper()
	const perNode = 60
	var more []pod
	for i, node := range c.Nodes {
		host := c.Pod(node, fmt.Sprintf("pods-%d", i), 8080)
		c.Serve(host, 8081)
		pods = append(pods, pod{host.Addresses, node})
		addresses, err := c.AddAddresses(host, perNode)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, a := range addresses {
			more = append(more, pod{a, node})
		}
	}
	return append(pods, more...), c.Pod(c.Node(), "client", 9000)
}

// churn starts to change things and to connect to what changes. What it returns waits for the end and counts the changes.
func (c *cluster) churn(ctx context.Context, pods []pod, client *lab.Host) (wait func() int) {
	var running sync.WaitGroup
	made := make([]int, churners)
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	for i := range churners {
		running.Go(func() { made[i] = c.changeSome(ctx, rand.New(rand.NewPCG(seed, uint64(i))), pods, i) })
	}
	running.Go(func() { c.disturb(ctx, client) })
	c.t.Cleanup(running.Wait)
	return func() (sum int) {
		running.Wait()
		for _, n := range made {
			sum += n
		}
		return sum
	}
}

// changeSome changes every churners-th busy Service, mostly in a hurry, and now and then after a quiet time.
func (c *cluster) changeSome(ctx context.Context, random *rand.Rand, pods []pod, first int) (made int) {
	var all []*busy
	for n := first; n < busyServices; n += churners {
		all = append(all, newBusy(c, random, pods, n))
	}
	for ; ctx.Err() == nil; made++ {
		// Not ctx: what is known of the API server's objects has to be right.
		if err := all[random.IntN(len(all))].change(context.WithoutCancel(ctx)); err != nil {
			c.t.Errorf("change %d of churner %d: %v", made, first, err)
			return made
		}
		pause := time.Duration(random.IntN(50)) * time.Millisecond
		if random.IntN(200) == 0 {
			pause += time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return made
}

// disturb connects to what changes, which may fail, so that the kernel has connections and lists of clients that have to go.
func (c *cluster) disturb(ctx context.Context, client *lab.Host) {
	for ctx.Err() == nil {
		f, network := lab.Families[rand.IntN(2)], []string{"tcp", "udp"}[rand.IntN(2)]
		from, to := client, netip.AddrPortFrom(site.ClusterIP(f, firstBusyIP+rand.IntN(busyServices)), []uint16{80, 443, 53}[rand.IntN(3)])
		if rand.IntN(2) == 0 {
			from, to = c.Outside, c.Node().AddrPort(f, uint16(31000+rand.IntN(busyServices*len(busyPorts))))
		}
		_, _ = from.Ask(ctx, network, to, lab.Reset(), lab.Timeout(50*time.Millisecond))
	}
}
