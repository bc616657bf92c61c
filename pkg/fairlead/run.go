package fairlead

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/source"
)

// Run forwards traffic until ctx ends. The rules stay then. It returns an error only where it cannot start.
func Run(ctx context.Context, c *config.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	name, err := c.NodeName()
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	src, err := newSource(logger, c, name)
	if err != nil {
		return err
	}
	logger.Info("Starting", "version", Version(), "mode", c.Mode, "node", name)
	if err := awaitKernel(ctx, c.Mode); err != nil {
		return nil // told to end before it began
	}
	applySysctls(logger, c)
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	events := src.Events(ctx)
	var handlers source.Handlers
	var lines []*line
	for _, family := range node.Families() {
		l, err := newLine(c, family, name, events)
		if err != nil {
			return err
		}
		lines, handlers = append(lines, l), append(handlers, l.proxier)
		running.Go(func() { l.run(klog.NewContext(ctx, logger.WithValues("family", family))) })
	}
	known := make(chan struct{})
	running.Go(func() { followAddresses(ctx, lines, sync.OnceFunc(func() { close(known) })) })
	select {
	case <-known: // or the first sync would take node ports away that a former run has put on these addresses
	case <-time.After(addressPatience):
		logger.Info("Still looking for the node's addresses; node ports that need them will come later")
	case <-ctx.Done():
	}
	return src.Run(ctx, handlers)
}

// addressPatience is how long the start waits for the node's own addresses, which the kernel tells at once.
const addressPatience = 5 * time.Second

// followAddresses tells all lines of the node's own addresses as they come and go, and calls known when it has done so first, or
// cannot.
func followAddresses(ctx context.Context, lines []*line, known func()) {
	defer known()
	// A kube-proxy that Fairlead takes over from holds all virtual IPs on this device.
	watcher := &node.Watcher{Except: []string{"kube-ipvs0"}}
	err := watcher.Run(ctx, func(own []netip.Addr) {
		for _, l := range lines {
			l.setAddresses(own)
		}
		known()
	})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot follow the node's addresses; node ports stay on those that are known")
	}
}

// applySysctls sets what the kernel's connection tracking should be like. Fairlead works without, if less well.
func applySysctls(logger klog.Logger, c *config.Config) {
	limits := conntrack.Limits{PerCore: c.Conntrack.MaxPerCore, Min: c.Conntrack.Min}
	if err := limits.Apply(); err != nil {
		logger.Error(err, "Could not raise the number of connections that the kernel can track; going on with what it has")
	}
	timeouts := conntrack.Timeouts{
		TCPEstablished: c.Conntrack.TCPEstablished, TCPCloseWait: c.Conntrack.TCPCloseWait,
		UDP: c.Conntrack.UDP, UDPStream: c.Conntrack.UDPStream,
		TCPBeLiberal: c.Conntrack.TCPBeLiberal,
	}
	if err := timeouts.Apply(); err != nil {
		logger.Error(err, "Could not set how the kernel tracks connections; going on with what it has")
	}
}
