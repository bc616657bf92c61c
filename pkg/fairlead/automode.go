package fairlead

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// chooseMode resolves mode auto, and logs the mode and the reason in one line. It returns all other configurations unchanged.
func chooseMode(ctx context.Context, c *config.Config) *config.Config {
	if c.Mode != config.ModeAuto {
		return c
	}
	mode, reason := awaitEvidence(ctx, func() evidence { return serving(ctx, c) }, ipvs.Probe).mode(ipvs.Probe)
	klog.FromContext(ctx).Info("Chose the mode", "mode", mode, "reason", reason)
	return withMode(c, mode)
}

// rulesPatience is how long the rules may be unreadable, such as while another program holds the lock of iptables, before the mode is chosen
// without them.
const rulesPatience = 30 * time.Second

// awaitEvidence reads the rules again while they cannot be read and IPVS mode may serve: a choice without them could switch the mode.
// Without IPVS in the kernel, there is nothing to wait for.
func awaitEvidence(ctx context.Context, read func() evidence, probe func() error) evidence {
	deadline := time.Now().Add(rulesPatience)
	for logged := false; ; logged = true {
		e := read()
		if e.err == nil || e.iptables || probe() != nil || !time.Now().Before(deadline) {
			return e
		}
		if !logged {
			klog.FromContext(ctx).Info("Cannot read the rules on this node, trying again before the mode is chosen", "reason", e.err.Error(), "for", rulesPatience)
		}
		select {
		case <-ctx.Done():
			return e
		case <-time.After(time.Second):
		}
	}
}

func withMode(c *config.Config, mode config.Mode) *config.Config {
	copied := *c
	copied.Mode = mode
	return &copied
}

// evidence tells which mode serves on this node.
type evidence struct {
	iptables, ipvs bool  // chains of Fairlead's in that mode
	kubeProxyIPVS  bool  // the interface of kube-proxy's IPVS mode
	err            error // from reading the rules
}

// mode returns a mode and the reason to choose it: the mode that serves goes on, so that a restart is not a switch, and everything else
// is served in iptables mode, kube-proxy's default. IPVS mode needs what iptables mode needs, and IPVS, which probe checks.
func (e evidence) mode(probe func() error) (config.Mode, string) {
	var serves string
	switch {
	case e.iptables: // even with chains of IPVS mode: these stay while its connections drain
		return config.ModeIPTables, "Fairlead already serves in iptables mode on this node"
	case e.ipvs:
		serves = "Fairlead already serves in ipvs mode on this node"
	case e.kubeProxyIPVS:
		serves = "kube-proxy has served in ipvs mode on this node (interface " + kubeProxyInterface + ")"
	case e.err != nil:
		return config.ModeIPTables, "it is the default, and the rules on this node cannot be read: " + e.err.Error()
	default:
		return config.ModeIPTables, "it is the default, and nothing serves in ipvs mode on this node"
	}
	if err := probe(); err != nil {
		return config.ModeIPTables, serves + ", but now: " + err.Error()
	}
	return config.ModeIPVS, serves
}

const (
	// ownPrefix starts the names of all chains of Fairlead, and iptablesPrefix those of iptables mode.
	ownPrefix, iptablesPrefix = "FL", "FL-"
	// kubeProxyInterface has all virtual IPs as its addresses in kube-proxy's IPVS mode.
	kubeProxyInterface = "kube-ipvs0"
)

// serving looks for the modes that serve on this node, in both IP families.
func serving(ctx context.Context, c *config.Config) (e evidence) {
	quiet := klog.NewContext(ctx, logr.Discard()) // the backends log the same about the rules
	for _, family := range node.Families() {
		rules := xtables.New(xtables.Options{Family: family, Variant: xtables.Variant(c.IPTables.Variant), Owner: xtables.Owner{
			Prefix: ownPrefix,
			Ours:   func(string) bool { return true },
		}})
		if err := rules.Read(quiet); err != nil {
			e.err = err
			continue
		}
		for _, chain := range rules.Held("nat") {
			e.iptables = e.iptables || strings.HasPrefix(chain, iptablesPrefix)
			e.ipvs = e.ipvs || strings.HasPrefix(chain, ipvs.ChainPrefix)
		}
	}
	_, err := net.InterfaceByName(kubeProxyInterface)
	e.kubeProxyIPVS = err == nil
	return e
}
