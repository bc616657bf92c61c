package fairlead

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/source"
)

// Run forwards traffic until ctx ends. The rules stay in place then. It returns an error only if it cannot start, or if an address is
// not available and HTTP.BindAddressHardFail is set.
func Run(ctx context.Context, c *config.Config, list ...Option) error {
	o := newOptions(list)
	settings, err := c.Settings()
	if err != nil {
		return err
	}
	name, err := c.NodeName()
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	families := node.ServedFamilies()
	if len(families) < len(node.Families()) {
		logger.Info("IPv6 is disabled on this node, serving IPv4 only", "sysctl", "net.ipv6.conf.all.disable_ipv6", "action", "restart Fairlead after IPv6 is enabled")
	}
	m := newMonitor(c, families)
	m.flags = o.flags
	src, err := newSource(logger, c, name, m)
	if err != nil {
		return err
	}
	logger.Info("Starting", "version", Version(), "mode", c.Mode, "node", name)
	release := func() {}
	defer func() { release() }() // after all that runs has ended
	ctx, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop(nil)
	m.setEvents(src.Events(ctx), o.notify)
	m.serve(ctx, settings, &running, func(err error) { stop(failure{err}) })
	held, err := holdNode(ctx, nodeLock, fmt.Sprintf("Fairlead %s in %s mode", Version(), c.Mode), m.waitsFor)
	if err != nil {
		return stopped(ctx) // ctx ended while another Fairlead had the node
	}
	release = held
	m.health.SetWaiting("")
	setOOMScoreAdj(logger, c)
	c = chooseMode(ctx, c)
	m.setConfig(c)
	return forward(ctx, c, name, src, m, o, &running)
}

// forward forwards traffic until ctx ends, on a node that no other Fairlead holds.
func forward(ctx context.Context, c *config.Config, nodeName string, src source.Source, m *monitor, o *options, running *sync.WaitGroup) error {
	c, err := awaitKernel(ctx, c, o.changes)
	if err != nil {
		return stopped(ctx)
	}
	m.setConfig(c)
	settings, err := c.Settings()
	if err != nil {
		return err
	}
	applySysctlsAtStart(klog.FromContext(ctx), c)
	m.events.Node(source.ReasonStarting, fmt.Sprintf("Fairlead %s, %s mode", Version(), c.Mode))
	lines, handlers, err := startLines(ctx, settings, nodeName, m, running)
	if err != nil {
		return err
	}
	live := &live{lines: lines, refused: m.refused, prepare: prepareKernel}
	live.running.Store(c)
	m.setLive(live)
	running.Go(func() { live.follow(ctx, o.changes) })
	awaitAddresses(ctx, lines, running)
	if err := src.Run(ctx, handlers); err != nil {
		return err
	}
	return stopped(ctx)
}

// startLines creates the line of each family, and runs it until ctx ends.
func startLines(ctx context.Context, c *config.Settings, nodeName string, m *monitor, running *sync.WaitGroup) ([]*line, source.Handlers, error) {
	var lines []*line
	var handlers source.Handlers
	for _, family := range m.families {
		l, err := newLine(c, family, nodeName, m)
		if err != nil {
			return nil, nil, err
		}
		lines, handlers = append(lines, l), append(handlers, l.proxier)
	}
	for _, l := range lines {
		running.Go(func() { l.run(klog.NewContext(ctx, klog.FromContext(ctx).WithValues("family", l.family))) })
	}
	return lines, handlers, nil
}

// failure is the cause of a context that Run itself has ended.
type failure struct{ error }

// stopped returns why Run itself has ended a context, or nil.
func stopped(ctx context.Context) error {
	var f failure
	if errors.As(context.Cause(ctx), &f) {
		return f.error
	}
	return nil
}

// addressPatience is how long the start waits for the node's own addresses. Usually they are known at once.
const addressPatience = 5 * time.Second

// awaitAddresses follows the node's addresses until ctx ends, and returns when they are known: without them, the first sync would remove
// the node ports of a previous run.
func awaitAddresses(ctx context.Context, lines []*line, running *sync.WaitGroup) {
	known := make(chan struct{})
	running.Go(func() { followAddresses(ctx, lines, sync.OnceFunc(func() { close(known) })) })
	select {
	case <-known:
	case <-time.After(addressPatience):
		klog.FromContext(ctx).Info("The addresses of the node are not known yet, node ports that need them are added later")
	case <-ctx.Done():
	}
}

// followAddresses passes the node's own addresses to all lines whenever they change. It calls known after the first time, or if it
// fails.
func followAddresses(ctx context.Context, lines []*line, known func()) {
	defer known()
	watcher := &node.Watcher{Except: []string{kubeProxyInterface}}
	err := watcher.Run(ctx, func(own []netip.Addr) {
		for _, l := range lines {
			l.setAddresses(own)
		}
		known()
	})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot follow the addresses of the node, node ports stay on the known ones")
	}
}
