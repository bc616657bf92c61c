package fairlead

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/source"
)

// drainRetries is how long Fairlead tries to hand new connections over in order before it removes iptables mode. No connection needs that mode
// once it is left, so this is only about errors, such as a lock of iptables that is held.
const drainRetries = time.Minute

// mode returns the configured mode for the proxier. It does not touch the kernel yet.
func (l *line) mode(c *config.Settings) proxier.Mode {
	m := proxier.Mode{Name: string(c.Mode), Backend: newBackend(c, l.family, l.events), MinSyncPeriod: c.MinSyncPeriod(), SyncPeriod: c.SyncPeriod()}
	m.DrainTimeout = drainRetries
	if c.Mode == config.ModeIPVS {
		m.DrainTimeout = c.IPVS.DrainTimeout
		m.FitNodePorts = func(chosen service.NodeAddresses, own []netip.Addr) service.NodeAddresses {
			return ipvsNodePorts(chosen, own, l.family)
		}
	}
	return m
}

// otherModes returns the modes that a previous run may have left in the kernel. Their settings are not in use and may be invalid; then
// the defaults serve to remove what is left.
func (l *line) otherModes(c *config.Settings) ([]proxier.Mode, error) {
	var list []proxier.Mode
	for _, name := range config.Modes {
		if name == c.Mode {
			continue
		}
		other := *c.Config
		other.Mode = name
		settings, err := other.Settings()
		if err != nil {
			klog.Background().Info("Settings of a mode that is not in use are invalid, using the defaults to remove what is left of it", "mode", name, "reason", err.Error())
			if settings, err = withDefaults(&other).Settings(); err != nil {
				return nil, err
			}
		}
		list = append(list, l.mode(settings))
	}
	return list, nil
}

// withDefaults returns a copy whose settings that only matter in one mode are the defaults.
func withDefaults(c *config.Config) *config.Config {
	copied, defaults := *c, config.Default()
	copied.IPVS = defaults.IPVS
	copied.IPTables.SyncPeriod, copied.IPTables.MinSyncPeriod = defaults.IPTables.SyncPeriod, defaults.IPTables.MinSyncPeriod
	if copied.IPTables.MasqueradeBit == copied.IPVS.MarkBit { // this is invalid, and does not matter to what removes
		copied.IPVS.MarkBit = defaults.IPTables.MasqueradeBit
	}
	return &copied
}

// newBackend returns the backend of the configured mode for one family. It does not touch the kernel yet.
func newBackend(c *config.Settings, family service.Family, events source.Events) proxier.Backend {
	if c.Mode == config.ModeIPVS {
		return newIPVS(c, family, events)
	}
	return iptables.New(iptables.Options{
		Family:        family,
		Variant:       c.Variant,
		MasqueradeBit: c.IPTables.MasqueradeBit,
		DropInvalid:   dropInvalid(c.Config),
		Counters:      c.ServiceCounters,
		Before:        ipvs.ChainPrefix,
	})
}

func newIPVS(c *config.Settings, family service.Family, events source.Events) proxier.Backend {
	return ipvs.New(ipvs.Options{
		Family:        family,
		Variant:       c.Variant,
		MasqueradeBit: c.IPTables.MasqueradeBit,
		MarkBit:       c.IPVS.MarkBit,
		DropInvalid:   dropInvalid(c.Config),
		Scheduler:     c.IPVS.Scheduler,
		Drain:         c.IPVS.DrainTimeout,
		Excluded:      c.Excluded,
		StrictARP:     c.IPVS.StrictARP,
		Counters:      c.ServiceCounters,
		TCPTimeout:    c.IPVS.TCPTimeout,
		TCPFinTimeout: c.IPVS.TCPFinTimeout,
		UDPTimeout:    c.IPVS.UDPTimeout,
		Events:        serviceEvents(events),
	})
}

// Cleanup removes everything that Fairlead has written on this node, in any mode.
func Cleanup(ctx context.Context) error {
	var failures []error
	for _, family := range node.Families() {
		for _, mode := range config.Modes {
			if err := remove(ctx, mode, family); err != nil {
				failures = append(failures, fmt.Errorf("%s, %s mode: %w", family, mode, err))
			}
		}
	}
	failures = append(failures, forbidLoopback(ctx))
	klog.FromContext(ctx).Info("Sysctls of connection tracking and IPVS, and net.ipv4.ip_forward, stay as they are: the values from before Fairlead are not known")
	return errors.Join(failures...)
}

// serviceEvents returns how to send events about Services, or nil if there is no way to.
func serviceEvents(events source.Events) func(service types.NamespacedName, reason, message string) {
	if events == nil {
		return nil
	}
	return func(service types.NamespacedName, reason, message string) {
		events.Service(service, reason, shortened(message))
	}
}

// remove removes everything that one mode has written, whatever its settings were.
func remove(ctx context.Context, mode config.Mode, family service.Family) error {
	c := config.Default()
	c.Mode = mode
	settings, err := c.Settings()
	if err != nil {
		return err
	}
	return newBackend(settings, family, nil).Remove(ctx)
}

// ipvsNodePorts lists the addresses that node ports answer on: each is a virtual server. Loopback addresses are excluded, as in
// kube-proxy's IPVS mode: IPVS does not forward packets from one (crosses_local_route_boundary in ip_vs_xmit.c). So are link-local
// addresses, which are ambiguous without their interface.
func ipvsNodePorts(chosen service.NodeAddresses, own []netip.Addr, family service.Family) service.NodeAddresses {
	chosen.Loopback = false
	if !chosen.All {
		return chosen
	}
	chosen.All, chosen.Listed = false, nil
	for _, addr := range own {
		if service.FamilyOf(addr) == family && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			chosen.Listed = append(chosen.Listed, addr)
		}
	}
	slices.SortFunc(chosen.Listed, netip.Addr.Compare)
	return chosen
}

// awaitKernel waits until the kernel supports the mode. Nothing has been written by then. It returns the settings that apply then, and an error
// only if ctx ends.
func awaitKernel(ctx context.Context, c *config.Config, changes <-chan *config.Config) (*config.Config, error) {
	err := awaitSupport(ctx, changes, func() error { return probeKernel(c.Mode) }, func(changed *config.Config) {
		c = changedWhileWaiting(ctx, c, changed)
	})
	return c, err
}

// changedWhileWaiting returns the settings with those changes that a running Fairlead applies too.
func changedWhileWaiting(ctx context.Context, c, changed *config.Config) *config.Config {
	logger := klog.FromContext(ctx)
	if names := config.NeedRestart(c, changed); len(names) > 0 {
		logger.Info(needRestart, "settings", names)
	}
	next := merge(c, chooseMode(ctx, changed), "") // no mode is in force
	if err := next.Validate(); err != nil {
		logger.Error(err, "Cannot apply the changed settings, keeping the previous ones")
		return c
	}
	return next
}
