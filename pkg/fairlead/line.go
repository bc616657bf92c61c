package fairlead

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/health"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/source"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// line is everything for one IP family.
type line struct {
	family  service.Family
	proxier *proxier.Proxier
	health  *health.Servers
	events  source.Events
	own     atomic.Pointer[[]netip.Addr]          // the node's addresses of both families
	ports   atomic.Pointer[service.NodeAddresses] // the addresses that node ports answer on
}

func newLine(c *config.Settings, family service.Family, nodeName string, m *monitor) (*line, error) {
	l := &line{family: family, events: m.events}
	former, err := l.otherModes(c)
	if err != nil {
		return nil, err
	}
	choice := func(own, primary []netip.Addr) service.NodeAddresses {
		chosen := c.NodePorts.NodeAddresses(family, own, primary)
		chosen.Loopback = c.IPTables.LocalhostNodePorts && c.NodePorts.Loopback(family)
		l.ports.Store(&chosen)
		return chosen
	}
	l.own.Store(new([]netip.Addr))
	l.health = health.New(family, health.Options{
		Events:    m.events.Service,
		Healthy:   func() bool { return l.proxier.Healthy() },
		Addresses: l.healthAddresses,
	})
	builder := service.NewBuilder(service.Options{
		Family:               family,
		NodeName:             nodeName,
		Pods:                 localTraffic(c, family),
		APIServer:            apiServer(c.Config),
		MasqueradeAll:        c.MasqueradeAll,
		MasqueradeInternalIP: c.MasqueradeAddress == config.MasqueradeInternalIP,
	})
	builder.SetNodePorts(choice(nil, nil))
	mode := l.mode(c)
	options := l.proxierOptions(c, mode, m)
	options.Former, options.NodePorts = former, choice
	l.proxier = proxier.New(builder, mode.Backend, options)
	m.setHealthy(family, l.proxier.Healthy)
	return l, nil
}

// proxierOptions returns the settings of a Proxier that begins in a mode.
func (l *line) proxierOptions(c *config.Settings, mode proxier.Mode, m *monitor) proxier.Options {
	return proxier.Options{
		Mode:          mode.Name,
		MinSyncPeriod: mode.MinSyncPeriod,
		SyncPeriod:    mode.SyncPeriod,
		FitNodePorts:  mode.FitNodePorts,
		DrainTimeout:  mode.DrainTimeout,
		Switched:      func(from, to string, err error) { m.switched(l.family, from, to, err) },
		PodsOfNode:    podsOfNode(c.Config, l.family),
		Followers:     l.postSyncHooks(c, m),
		Events:        serviceEvents(l.events),
		Observer:      m.observer(l.family),
	}
}

// postSyncHooks returns what runs after each successful sync.
func (l *line) postSyncHooks(c *config.Settings, m *monitor) []proxier.Follower {
	flows := conntrack.Options{Family: l.family, NodeAddress: l.nodeAddress, UnrepliedTCP: c.Conntrack.DeleteUnrepliedTCP, Observe: m.metrics.Flows(l.family)}
	hooks := []proxier.Follower{conntrack.NewFlows(flows), newLateSysctls(c.Config), &loopbackRouting{variant: c.Variant}, l.health}
	return append(hooks, takeOver(c, l.family, m.events.Node, func() string { return l.proxier.Mode() })...)
}

func (l *line) run(ctx context.Context) {
	defer l.health.Close()
	l.proxier.Run(ctx)
}

func (l *line) setAddresses(own []netip.Addr) {
	l.own.Store(&own)
	l.proxier.SetAddresses(own)
}

// healthAddresses returns the addresses of health check node ports: the same that node ports answer on.
func (l *line) healthAddresses() []netip.Addr {
	ports := l.ports.Load()
	if !ports.All && len(ports.Listed) == 0 {
		if l.family == service.IPv6 {
			return []netip.Addr{netip.IPv6Loopback()}
		}
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return ports.Listed
}

func (l *line) nodeAddress(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(*l.own.Load(), addr)
}

// dropInvalid resolves "auto": a kernel with nf_conntrack_tcp_be_liberal has no packets outside of their window to drop, and with
// asymmetric routes, dropping them would break connections (kubernetes#94861).
func dropInvalid(c *config.Config) bool {
	if c.DropInvalid != config.DropInvalidAuto {
		return c.DropInvalid == config.DropInvalidOn
	}
	liberal, err := node.TCPBeLiberal()
	if err != nil {
		klog.Background().V(2).Info("Cannot read nf_conntrack_tcp_be_liberal, assuming 0", "reason", err)
	}
	return !liberal
}

// localTraffic returns the local traffic detector, unless it depends on the Node object.
func localTraffic(c *config.Settings, family service.Family) service.LocalTraffic {
	switch c.DetectLocalMode {
	case config.ByClusterCIDR:
		return podsFrom(c.PodCIDRs[family])
	case config.ByBridgeInterface:
		return service.LocalTraffic{Interface: c.BridgeInterface}
	case config.ByInterfacePrefix:
		return service.LocalTraffic{InterfacePrefix: c.InterfacePrefix}
	}
	return service.LocalTraffic{}
}

// podsFrom detects pods by their address. A range of all addresses distinguishes nothing.
func podsFrom(r netip.Prefix) service.LocalTraffic {
	if !r.IsValid() || r.Bits() == 0 {
		return service.LocalTraffic{}
	}
	return service.LocalTraffic{Sources: r}
}

// podsOfNode detects pods by the podCIDRs of this node's Node object, if that is configured.
func podsOfNode(c *config.Config, family service.Family) func(node.OwnNode) service.LocalTraffic {
	if c.DetectLocalMode != config.ByNodeCIDR {
		return nil
	}
	return func(own node.OwnNode) service.LocalTraffic {
		for _, r := range own.PodCIDRs {
			if service.FamilyOf(r.Addr()) == family {
				return podsFrom(r.Masked())
			}
		}
		return service.LocalTraffic{}
	}
}

// loopbackRouting lets packets from 127.0.0.1 leave the node, once the rule is in place that drops packets to it from elsewhere.
type loopbackRouting struct {
	variant xtables.Variant
	done    bool
	logged  bool
}

// Synced implements proxier.Follower.
func (r *loopbackRouting) Synced(ctx context.Context, _, table *service.Table, _ service.PortSet) error {
	if r.done || !table.NodePorts.Loopback {
		return nil
	}
	if err := allowLoopback(ctx, r.variant); err != nil {
		// Everything else works without it, and a read-only /proc/sys stays read-only for the life of this process.
		if !r.logged {
			r.logged = true
			klog.FromContext(ctx).Error(err, "Node ports do not answer on 127.0.0.1")
		}
		return nil
	}
	r.done = true
	return nil
}
