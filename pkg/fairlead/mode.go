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
	"github.com/fairlead/fairlead/pkg/xtables"
)

// mode is the one that c asks for, with its settings. It touches nothing yet.
func (l *line) mode(c *config.Config) (proxier.Mode, error) {
	backend, err := newBackend(c, l.family, l.events)
	if err != nil {
		return proxier.Mode{}, err
	}
	m := proxier.Mode{Name: string(c.Mode), Backend: backend, MinSyncPeriod: c.MinSyncPeriod(), SyncPeriod: c.SyncPeriod()}
	if c.Mode == config.ModeIPVS {
		m.DrainTimeout = c.IPVS.DrainTimeout
		m.FitNodePorts = func(chosen service.NodeAddresses, own []netip.Addr) service.NodeAddresses {
			return ipvsNodePorts(chosen, own, l.family)
		}
	}
	return m, nil
}

// otherModes are those that an earlier run may have left in the kernel. Their settings are not in use, and need not be right: what there is
// of such a mode goes as with those by default.
func (l *line) otherModes(c *config.Config) ([]proxier.Mode, error) {
	var list []proxier.Mode
	for _, name := range config.Modes {
		if name == c.Mode {
			continue
		}
		of := *c
		of.Mode = name
		if err := of.Validate(); err != nil {
			klog.Background().Info("The settings of a mode that is not in use are not right; what is left of it goes as usual", "mode", name, "reason", err.Error())
			of.IPVS, of.IPTables.SyncPeriod, of.IPTables.MinSyncPeriod = config.Default().IPVS, config.Default().IPTables.SyncPeriod, config.Default().IPTables.MinSyncPeriod
		}
		m, err := l.mode(&of)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// newBackend returns what writes one family of the configured mode. It touches nothing yet.
func newBackend(c *config.Config, family service.Family, events source.Events) (proxier.Backend, error) {
	if c.Mode == config.ModeIPVS {
		return newIPVS(c, family, events)
	}
	return iptables.New(iptables.Options{
		Family:        family,
		Variant:       xtables.Variant(c.IPTables.Variant),
		MasqueradeBit: c.IPTables.MasqueradeBit,
		DropInvalid:   dropInvalid(c),
		Before:        ipvs.ChainPrefix,
	}), nil
}

func newIPVS(c *config.Config, family service.Family, events source.Events) (proxier.Backend, error) {
	excluded, err := c.IPVS.Excluded()
	if err != nil {
		return nil, err
	}
	return ipvs.New(ipvs.Options{
		Family:        family,
		Variant:       xtables.Variant(c.IPTables.Variant),
		MasqueradeBit: c.IPTables.MasqueradeBit,
		MarkBit:       c.IPVS.MarkBit,
		DropInvalid:   dropInvalid(c),
		Scheduler:     c.IPVS.Scheduler,
		Drain:         c.IPVS.DrainTimeout,
		Excluded:      excluded,
		StrictARP:     c.IPVS.StrictARP,
		TCPTimeout:    c.IPVS.TCPTimeout,
		TCPFinTimeout: c.IPVS.TCPFinTimeout,
		UDPTimeout:    c.IPVS.UDPTimeout,
		Events:        serviceEvents(events),
	}), nil
}

// Cleanup removes what Fairlead ever wrote on this node, in any mode.
func Cleanup(ctx context.Context) error {
	var failures []error
	for _, family := range node.Families() {
		for _, mode := range config.Modes {
			if err := remove(ctx, mode, family); err != nil {
				failures = append(failures, fmt.Errorf("%s, %s mode: %w", family, mode, err))
			}
		}
	}
	failures = append(failures, removeGuard(ctx))
	return errors.Join(failures...)
}

// serviceEvents is how a backend tells a Service's owner something; nil where nobody is told.
func serviceEvents(events source.Events) func(service types.NamespacedName, reason, message string) {
	if events == nil {
		return nil
	}
	return events.Service
}

// remove deletes one mode's part of the kernel, whatever the settings were that it was written with.
func remove(ctx context.Context, mode config.Mode, family service.Family) error {
	c := config.Default()
	c.Mode = mode
	backend, err := newBackend(c, family, nil)
	if err != nil {
		return err
	}
	return backend.Remove(ctx)
}

// ipvsNodePorts spells out the addresses that node ports answer on: each is a virtual server. Loopback addresses are not among them:
// IPVS does not send on what comes from one (crosses_local_route_boundary in ip_vs_xmit.c), as in kube-proxy's IPVS mode. Nor are
// link-local addresses, which mean nothing without their interface.
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

// kernelPatience is how long Fairlead waits before it looks again whether the kernel can do what the mode needs.
const kernelPatience = 10 * time.Second

// awaitKernel waits until the kernel can do what the mode needs, and says so once if it cannot. Nothing has been touched by then, and
// whoever mends it, or chooses another mode, need not start Fairlead again. It returns the settings by then, and an error only where ctx ends.
func awaitKernel(ctx context.Context, c *config.Config, changes <-chan *config.Config) (*config.Config, error) {
	for said := false; ; {
		err := probeKernel(c.Mode)
		if err == nil {
			return c, nil
		}
		if !said {
			klog.FromContext(ctx).Error(err, "Waiting: this node cannot forward in the mode that is asked for", "mode", c.Mode)
			said = true
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case changed, more := <-changes:
			if !more {
				changes = nil
				continue
			}
			c = changedWhileWaiting(ctx, c, changed)
		case <-time.After(kernelPatience):
		}
	}
}

// changedWhileWaiting takes up of new settings what a running Fairlead would.
func changedWhileWaiting(ctx context.Context, c, changed *config.Config) *config.Config {
	logger := klog.FromContext(ctx)
	if names := config.NeedRestart(c, changed); len(names) > 0 {
		logger.Info(needRestart, "settings", names)
	}
	next := merge(c, changed, "") // no mode is in force
	if err := next.Validate(); err != nil {
		logger.Error(err, "Cannot take up new settings; the present ones stay")
		return c
	}
	return next
}
