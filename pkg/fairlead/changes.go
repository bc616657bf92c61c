package fairlead

import (
	"context"
	"fmt"
	"sync/atomic"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
)

const needRestart = "Settings have changed that only apply after a restart of Fairlead"

// live applies changed settings to what runs.
type live struct {
	lines   []*line
	running atomic.Pointer[config.Config]        // with the changes since the start; its mode is never auto
	refused func(to config.Mode, message string) // counts a refused switch and sends an event about the node
	// prepare prepares the kernel for a mode, or returns why it does not support it.
	prepare func(context.Context, *config.Config) error
}

func probeKernel(mode config.Mode) error {
	if mode == config.ModeIPVS {
		return ipvs.Probe()
	}
	return nil
}

// follow applies changes until ctx ends or the channel is closed.
func (l *live) follow(ctx context.Context, changes <-chan *config.Config) {
	for {
		select {
		case <-ctx.Done():
			return
		case c, more := <-changes:
			if !more {
				return
			}
			l.apply(ctx, c)
		}
	}
}

// apply applies the changes that need no restart. A mode that this node does not support is refused, and the present one goes on.
func (l *live) apply(ctx context.Context, c *config.Config) {
	logger := klog.FromContext(ctx)
	running := l.running.Load()
	if c.Mode == config.ModeAuto {
		logger.Info("Chose the mode", "mode", running.Mode, "reason", "it already serves on this node")
		c = withMode(c, running.Mode)
	}
	if names := config.NeedRestart(running, c); len(names) > 0 {
		logger.Info(needRestart, "settings", names)
	}
	next := merge(running, c, l.Mode())
	settings, err := next.Settings()
	switched := next.Mode != running.Mode
	if err == nil && switched {
		err = l.prepare(ctx, next)
	}
	switch {
	case err != nil && switched:
		logger.Error(err, "Cannot switch the mode; the present one goes on", "from", running.Mode, "to", c.Mode)
		l.refused(next.Mode, fmt.Sprintf("cannot switch from %s mode to %s mode: %v", running.Mode, c.Mode, err))
		return
	case err != nil:
		logger.Error(err, "Cannot apply the changed settings, keeping the previous ones")
		return
	case switched:
		logger.Info("Switching the mode", "from", running.Mode, "to", next.Mode)
	}
	l.running.Store(next)
	for _, line := range l.lines {
		line.proxier.SetMode(line.mode(settings))
	}
}

// prepareKernel checks that the kernel supports the mode, and sets the sysctls of IPVS mode. An unprivileged process cannot set them, and
// its init container only did if IPVS was loaded then. Without them clients would not be masqueraded, so the switch is refused.
func prepareKernel(ctx context.Context, c *config.Config) error {
	if err := probeKernel(c.Mode); err != nil || c.Mode != config.ModeIPVS {
		return err
	}
	if err := ipvs.Tune(ctx, c.IPVS.StrictARP); err != nil {
		return fmt.Errorf("set the sysctls of IPVS mode: %w", err)
	}
	return nil
}

// merge returns the running configuration with those changes that apply without a restart: the mode, the periods, and, if IPVS mode is
// not in force yet, the settings of that mode. The settings that both modes share are not among them: the kernel's state depends on them.
func merge(running, c *config.Config, inForce config.Mode) *config.Config {
	next := *running
	next.Mode = c.Mode
	if c.Mode == config.ModeIPVS && inForce != config.ModeIPVS {
		next.IPVS = c.IPVS
	}
	next.IPVS.SyncPeriod, next.IPVS.MinSyncPeriod = c.IPVS.SyncPeriod, c.IPVS.MinSyncPeriod
	next.IPTables.SyncPeriod, next.IPTables.MinSyncPeriod = c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod
	return &next
}

// Mode returns the mode in force in all families that have Services, or the previous one while a switch is in progress.
func (l *live) Mode() config.Mode {
	mode := l.running.Load().Mode
	for _, line := range l.lines {
		if inForce := config.Mode(line.proxier.Mode()); inForce != mode && line.proxier.Needed() {
			return inForce
		}
	}
	return mode
}
