package fairlead

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

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
		Events:        events,
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
	return errors.Join(failures...)
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

// otherModes removes what Fairlead has left when it ran in another mode, once this one serves.
type otherModes struct {
	config *config.Config
	family service.Family
	done   bool
}

// Synced implements proxier.Follower.
func (o *otherModes) Synced(ctx context.Context, _, _ *service.Table, _ service.PortSet) error {
	if o.done {
		return nil
	}
	for _, mode := range config.Modes {
		if mode == o.config.Mode {
			continue
		}
		if err := remove(ctx, mode, o.family); err != nil {
			return fmt.Errorf("remove what is left of %s mode: %w", mode, err)
		}
	}
	o.done = true
	return nil
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
// whoever mends it need not start Fairlead again. It returns an error only where ctx ends.
func awaitKernel(ctx context.Context, mode config.Mode) error {
	if mode != config.ModeIPVS {
		return nil
	}
	for said := false; ; {
		err := ipvs.Probe()
		if err == nil {
			return nil
		}
		if !said {
			klog.FromContext(ctx).Error(err, "Waiting: this node cannot forward in the mode that is asked for", "mode", mode)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(kernelPatience):
		}
	}
}
