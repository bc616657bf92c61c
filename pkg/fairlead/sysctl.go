package fairlead

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
)

// applySysctlsAtStart applies the sysctls of connection tracking, unless the kernel has not loaded it yet, see lateSysctls.
func applySysctlsAtStart(logger klog.Logger, c *config.Config) {
	if !conntrackPresent() {
		logger.Info("The kernel has not loaded nf_conntrack yet, its limits and timeouts are set after the first sync")
		return
	}
	applySysctls(logger, c)
}

// applySysctls sets the limits and timeouts of connection tracking. Fairlead works without them.
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

func conntrackPresent() bool {
	_, err := node.TCPBeLiberal()
	return err == nil
}

// lateSysctls is a post-sync hook for a kernel that has not loaded nf_conntrack at start: the first rules load it, and only then do its
// sysctls exist.
type lateSysctls struct {
	present func() bool
	apply   func(context.Context)
	done    bool
}

func newLateSysctls(c *config.Config) *lateSysctls {
	return &lateSysctls{
		present: conntrackPresent,
		apply:   func(ctx context.Context) { applySysctls(klog.FromContext(ctx), c) },
		done:    conntrackPresent(), // then they have been applied at start
	}
}

// Synced implements proxier.Follower.
func (s *lateSysctls) Synced(ctx context.Context, _, _ *service.Table, _ service.PortSet) error {
	if !s.done && s.present() {
		s.done = true
		s.apply(ctx)
	}
	return nil
}
