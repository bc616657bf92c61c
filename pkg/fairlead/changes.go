package fairlead

import (
	"context"
	"fmt"
	"sync/atomic"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/source"
)

const needRestart = "These settings have changed, and hold after Fairlead has been started again"

// live is what runs, as far as it can change.
type live struct {
	lines   []*line
	running atomic.Pointer[config.Config] // with what was taken up since the start
	tell    func(reason, message string)
	// prepare makes this node's kernel ready to forward in the mode of some settings, or says why it cannot.
	prepare func(context.Context, *config.Config) error
}

func probeKernel(mode config.Mode) error {
	if mode == config.ModeIPVS {
		return ipvs.Probe()
	}
	return nil
}

// follow takes up changes until ctx ends, or there will be none.
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

// apply takes up what can be taken up of new settings. A mode that is impossible here is refused, and the present one goes on.
func (l *live) apply(ctx context.Context, c *config.Config) {
	logger := klog.FromContext(ctx)
	running := l.running.Load()
	if names := config.NeedRestart(running, c); len(names) > 0 {
		logger.Info(needRestart, "settings", names)
	}
	next := merge(running, c, l.Mode())
	if next.Mode != running.Mode {
		if err := l.possible(ctx, next); err != nil {
			logger.Error(err, "Cannot switch the mode; the present one goes on", "from", running.Mode, "to", c.Mode)
			l.tell(source.ReasonSwitchFailed, fmt.Sprintf("cannot switch from %s mode to %s mode: %v", running.Mode, c.Mode, err))
			return
		}
		logger.Info("Switching the mode", "from", running.Mode, "to", next.Mode)
	}
	l.running.Store(next)
	for _, line := range l.lines {
		mode, err := line.mode(next)
		if err != nil {
			logger.Error(err, "Cannot take up new settings; the present ones stay", "family", line.family)
			continue
		}
		line.proxier.SetMode(mode)
	}
}

func (l *live) possible(ctx context.Context, c *config.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return l.prepare(ctx, c)
}

// prepareKernel also sets what IPVS needs, where the mode is IPVS. A process with few privileges may not, and its init container did only
// if IPVS was loaded by then: without, clients would not be masqueraded, in a mode that nobody has to leave the present one for.
func prepareKernel(ctx context.Context, c *config.Config) error {
	if err := probeKernel(c.Mode); err != nil || c.Mode != config.ModeIPVS {
		return err
	}
	if err := ipvs.Tune(ctx, c.IPVS.StrictARP); err != nil {
		return fmt.Errorf("set what IPVS needs of the kernel: %w", err)
	}
	return nil
}

// merge is the running configuration with what can change of another one: the mode, and the periods. A mode that is not in force gets
// its own settings with it. Not the settings that both modes share: what stands in the kernel was written with them.
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

// Mode is the one in force: of all families, or else the one that is being left.
func (l *live) Mode() config.Mode {
	mode := l.running.Load().Mode
	for _, line := range l.lines {
		if is := config.Mode(line.proxier.Mode()); is != mode {
			return is
		}
	}
	return mode
}
