package fairlead

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Init does what takes more privileges than forwarding traffic does: it loads modules of the kernel and sets what can be set below
// /proc/sys. After it, Run needs CAP_NET_ADMIN alone. What Run can do without is logged where it fails; an error means that the mode
// cannot work.
func Init(ctx context.Context, c *config.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	logger.Info("Preparing the node", "version", Version(), "mode", c.Mode)
	if err := node.LoadModule(ctx, "nf_conntrack", "connection tracking", conntrackPresent); err != nil {
		logger.Error(err, "Going on, since the kernel loads it with the first rule that needs it; its limits and timeouts cannot be set by now")
	} else {
		applySysctls(logger, c)
	}
	if err := initLoopback(ctx, c); err != nil {
		logger.Error(err, "Node ports will not answer on 127.0.0.1")
	}
	if err := initIPVS(ctx, c); err != nil {
		return err
	}
	logger.Info("The node is prepared")
	return nil
}

func conntrackPresent() bool {
	_, err := node.TCPBeLiberal()
	return err == nil
}

// initIPVS prepares for IPVS mode where that is asked for, and where IPVS is loaded already, so that the mode can be switched to.
func initIPVS(ctx context.Context, c *config.Config) error {
	if c.Mode != config.ModeIPVS && !ipvs.Present() {
		return nil
	}
	var probed error
	err := node.LoadModule(ctx, "ip_vs", "IPVS mode", func() bool {
		probed = ipvs.Probe()
		return probed == nil
	})
	if err != nil {
		return err
	}
	if err := ipvs.Tune(ctx, c.IPVS.StrictARP); err != nil {
		if c.Mode != config.ModeIPVS {
			klog.FromContext(ctx).Error(err, "The mode cannot be switched to IPVS")
			return nil
		}
		return fmt.Errorf("set what IPVS needs of the kernel: %w", err)
	}
	return nil
}

// initLoopback lets packets from 127.0.0.1 leave the node, which node ports on that address need. Run does so when its own rules stand
// that keep neighbors from sending to it; here they may not stand yet, so a guard of the same words goes first.
func initLoopback(ctx context.Context, c *config.Config) error {
	selection, err := node.ParseSelection(c.NodePortAddresses)
	if err != nil {
		return err
	}
	if c.Mode != config.ModeIPTables || !c.IPTables.LocalhostNodePorts || !selection.Loopback(service.IPv4) {
		return nil
	}
	if set, err := node.LoopbackRouting(); err != nil || set {
		return err
	}
	w := xtables.NewChain(guardChain)
	w.Rule("-d 127.0.0.0/8 ! -i lo -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
	if err := guard(xtables.Variant(c.IPTables.Variant)).Replace(ctx, map[string][]xtables.Chain{"filter": {w.Chain}}); err != nil {
		return fmt.Errorf("guard 127.0.0.1 before packets from it may leave: %w", err)
	}
	return node.AllowLoopbackRouting()
}

// guardChain is the one that initLoopback writes. It stays until Cleanup, since what it guards does too.
const guardChain = guardPrefix + "LOOPBACK"

const guardPrefix = "FLI-"

func guard(variant xtables.Variant) *xtables.Ruleset {
	return xtables.New(xtables.Options{Family: service.IPv4, Variant: variant, Owner: xtables.Owner{
		Prefix: guardPrefix,
		Ours:   func(name string) bool { return name == guardChain },
		Jumps:  []xtables.Jump{{Table: "filter", From: "INPUT", To: guardChain}},
	}})
}

// removeGuard removes what Init has written beside the rules of the modes.
func removeGuard(ctx context.Context) error {
	if err := guard(xtables.Auto).Remove(ctx); err != nil {
		return fmt.Errorf("the guard of 127.0.0.1: %w", err)
	}
	return nil
}
