package fairlead

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
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
	if err := initIPVS(ctx, c, newOptions(list).changes); err != nil {
		return err
	}
	logger.Info("The node is prepared")
	return nil
}

// initIPVS prepares IPVS mode if that is the mode, or if IPVS is loaded already, so that the mode can be switched later.
func initIPVS(ctx context.Context, c *config.Config, changes <-chan *config.Config) error {
	prepare := func() error { return prepareIPVS(ctx, c.IPVS.StrictARP) }
	if c.Mode == config.ModeIPVS {
		return await(ctx, changes, prepare)
	}
	if !ipvs.Present() {
		return nil
	}
	if err := prepare(); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot prepare IPVS mode, so the mode cannot be switched to it")
	}
	return nil
}

// await repeats prepare until it succeeds or another mode is configured, and logs the first error. An init container that failed instead
// would be restarted again and again, and could not do more. It returns an error only if ctx ends.
func await(ctx context.Context, changes <-chan *config.Config, prepare func() error) error {
	logger := klog.FromContext(ctx)
	for failed := false; ; failed = true {
		err := prepare()
		if err == nil {
			return nil
		}
		if !failed {
			logger.Error(err, "Proxy mode not supported by this kernel, waiting", "mode", config.ModeIPVS)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c, more := <-changes:
			if !more {
				changes = nil
			} else if chooseMode(ctx, c).Mode != config.ModeIPVS {
				logger.Info("The mode has been changed, not waiting for IPVS", "mode", c.Mode)
				return nil
			}
		case <-time.After(kernelPatience):
		}
	}
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

// initLoopback lets packets from 127.0.0.1 leave the node, which node ports on that address need. Run does so once its rules are in place
// that drop packets to 127.0.0.0/8 from the network (CVE-2020-8558). Here they may not be yet, so Init adds an equivalent rule first.
func initLoopback(ctx context.Context, c *config.Settings) error {
	if c.Mode != config.ModeIPTables || !c.IPTables.LocalhostNodePorts || !c.NodePorts.Loopback(service.IPv4) {
		return nil
	}
	if set, err := node.LoopbackRouting(); err != nil || set {
		return err
	}
	w := xtables.NewChain(guardChain)
	w.Rule("-d 127.0.0.0/8 ! -i lo -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
	if err := guard(c.Variant).Replace(ctx, map[string][]xtables.Chain{"filter": {w.Chain}}); err != nil {
		return fmt.Errorf("add the rule that protects 127.0.0.0/8 from the network: %w", err)
	}
	return node.AllowLoopbackRouting()
}

// guardChain is the chain of initLoopback. It stays until Cleanup. route_localnet stays set even then.
const guardChain = guardPrefix + "LOOPBACK"

const guardPrefix = "FLI-"

func guard(variant xtables.Variant) *xtables.Ruleset {
	return xtables.New(xtables.Options{Family: service.IPv4, Variant: variant, Owner: xtables.Owner{
		Prefix: guardPrefix,
		Ours:   func(name string) bool { return name == guardChain },
		Jumps:  []xtables.Jump{{Table: "filter", From: "INPUT", To: guardChain}},
	}})
}

// removeGuard removes the chain of initLoopback.
func removeGuard(ctx context.Context) error {
	if err := guard(xtables.Auto).Remove(ctx); err != nil {
		return fmt.Errorf("remove the rule that protects 127.0.0.0/8: %w", err)
	}
	return nil
}
