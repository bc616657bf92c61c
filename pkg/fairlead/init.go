package fairlead

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
)

// Init does what needs more privileges than Run: it loads kernel modules and sets sysctls. After it, Run needs CAP_NET_ADMIN and
// CAP_NET_RAW only. Init logs failures that Run can do without. While the kernel lacks what the mode needs, it waits for that or
// for another mode (WithChanges), as Run does.
func Init(ctx context.Context, c *config.Config, list ...Option) error {
	if err := c.Validate(); err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	c = chooseMode(ctx, c)
	settings, err := c.Settings()
	if err != nil {
		return err
	}
	logger.Info("Preparing the node", "version", Version(), "mode", c.Mode)
	if err := node.LoadModule(ctx, "nf_conntrack", "connection tracking", conntrackPresent); err != nil {
		logger.Error(err, "Going on: the kernel loads it with the first rule that needs it, but its limits and timeouts cannot be set yet")
	} else {
		applySysctls(logger, c)
	}
	if err := initLoopback(ctx, settings); err != nil {
		logger.Error(err, "Node ports will not answer on 127.0.0.1")
	}
	prepare := func() error { return prepareIPVS(ctx, c.IPVS.StrictARP) }
	if err := initIPVS(ctx, c.Mode, newOptions(list).changes, prepare); err != nil {
		return err
	}
	logger.Info("The node is prepared")
	return nil
}

// initIPVS prepares IPVS mode if that is the mode. In other modes it leaves the sysctls of IPVS alone, even if the kernel has loaded it:
// then another program uses it, whose virtual servers they would change.
func initIPVS(ctx context.Context, mode config.Mode, changes <-chan *config.Config, prepare func() error) error {
	if mode != config.ModeIPVS {
		return nil
	}
	return await(ctx, changes, prepare)
}

// await repeats prepare until it succeeds or another mode is configured. An init container that failed instead would be restarted again and
// again, and could not do more. It returns an error only if ctx ends.
func await(ctx context.Context, changes <-chan *config.Config, prepare func() error) error {
	changed := false
	attempt := func() error {
		if changed {
			return nil
		}
		return prepare()
	}
	return awaitSupport(ctx, changes, attempt, func(c *config.Config) {
		if changed = chooseMode(ctx, c).Mode != config.ModeIPVS; changed {
			klog.FromContext(ctx).Info("The mode has been changed, not waiting for IPVS", "mode", c.Mode)
		}
	})
}

// prepareIPVS loads the kernel's IPVS and sets the sysctls that IPVS mode needs.
func prepareIPVS(ctx context.Context, strictARP bool) error {
	var probed error
	err := node.LoadModule(ctx, "ip_vs", "IPVS mode", func() bool {
		probed = ipvs.Probe()
		return probed == nil
	})
	if err != nil {
		return err
	}
	if err := ipvs.Tune(ctx, strictARP); err != nil {
		return fmt.Errorf("set the sysctls of IPVS mode: %w", err)
	}
	return nil
}

// initLoopback allows node ports on 127.0.0.1 if the settings ask for them.
func initLoopback(ctx context.Context, c *config.Settings) error {
	if c.Mode != config.ModeIPTables || !c.IPTables.LocalhostNodePorts || !c.NodePorts.Loopback(service.IPv4) {
		return nil
	}
	return allowLoopback(ctx, c.Variant)
}
