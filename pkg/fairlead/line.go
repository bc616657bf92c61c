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
)

// line is everything of one IP family.
type line struct {
	family  service.Family
	proxier *proxier.Proxier
	health  *health.Servers
	events  source.Events
	own     atomic.Pointer[[]netip.Addr]          // the node's addresses, of both families
	ports   atomic.Pointer[service.NodeAddresses] // those that node ports answer on
}

func newLine(c *config.Config, family service.Family, nodeName string, m *monitor) (*line, error) {
	pods, err := c.Pods()
	if err != nil {
		return nil, err
	}
	selection, err := node.ParseSelection(c.NodePortAddresses)
	if err != nil {
		return nil, err
	}
	l := &line{family: family, events: m.events}
	choice := func(own, primary []netip.Addr) service.NodeAddresses {
		chosen := selection.NodeAddresses(family, own, primary)
		chosen.Loopback = c.IPTables.LocalhostNodePorts && selection.Loopback(family)
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
		Pods:                 localTraffic(c, pods[family]),
		MasqueradeAll:        c.MasqueradeAll,
		MasqueradeInternalIP: c.MasqueradeAddress == config.MasqueradeInternalIP,
	})
	builder.SetNodePorts(choice(nil, nil))
	mode, err := l.mode(c)
	if err != nil {
		return nil, err
	}
	former, err := l.otherModes(c)
	if err != nil {
		return nil, err
	}
	l.proxier = proxier.New(builder, mode.Backend, proxier.Options{
		Mode:          mode.Name,
		MinSyncPeriod: mode.MinSyncPeriod,
		SyncPeriod:    mode.SyncPeriod,
		FitNodePorts:  mode.FitNodePorts,
		DrainTimeout:  mode.DrainTimeout,
		Former:        former,
		Switched:      func(from, to string, err error) { m.switched(family, from, to, err) },
		NodePorts:     choice,
		PodsOfNode:    podsOfNode(c, family),
		Followers: append([]proxier.Follower{
			conntrack.NewFlows(conntrack.Options{Family: family, NodeAddress: l.nodeAddress, UnrepliedTCP: c.Conntrack.DeleteUnrepliedTCP, Observe: m.metrics.Flows(family)}),
			&loopbackRouting{},
			l.health,
		}, takeOver(c, family, m.events.Node)...),
		Observer: m.observer(family),
	})
	m.setHealthy(family, l.proxier.Healthy)
	return l, nil
}

func (l *line) run(ctx context.Context) {
	defer l.health.Close()
	l.proxier.Run(ctx)
}

func (l *line) setAddresses(own []netip.Addr) {
	l.own.Store(&own)
	l.proxier.SetAddresses(own)
}

// healthAddresses are those that load balancers can ask on: the same that node ports answer on.
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

// dropInvalid decides what "auto" means: a kernel that lets packets out of their window pass has none to drop, and where they take
// another way back than they came, dropping would break them (kubernetes#94861).
func dropInvalid(c *config.Config) bool {
	if c.DropInvalid != config.DropInvalidAuto {
		return c.DropInvalid == config.DropInvalidOn
	}
	liberal, err := node.TCPBeLiberal()
	if err != nil {
		klog.Background().V(2).Info("Cannot tell how liberal connection tracking is; taking it for strict", "reason", err)
	}
	return !liberal
}

// localTraffic says how pods are told, as far as the flags alone say.
func localTraffic(c *config.Config, pods netip.Prefix) service.LocalTraffic {
	switch c.DetectLocalMode {
	case config.ByClusterCIDR:
		return podsFrom(pods)
	case config.ByBridgeInterface:
		return service.LocalTraffic{Interface: c.BridgeInterface}
	case config.ByInterfacePrefix:
		return service.LocalTraffic{InterfacePrefix: c.InterfacePrefix}
	}
	return service.LocalTraffic{}
}

// podsFrom tells pods by their address. A range of all addresses tells nobody from anybody.
func podsFrom(r netip.Prefix) service.LocalTraffic {
	if !r.IsValid() || r.Bits() == 0 {
		return service.LocalTraffic{}
	}
	return service.LocalTraffic{Sources: r}
}

// podsOfNode tells pods by the own Node's range of pod addresses, where that is asked for.
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

// loopbackRouting lets packets from 127.0.0.1 leave the node, once the rule stands that keeps others from sending to it.
type loopbackRouting struct {
	done bool
	said bool
}

// Synced implements proxier.Follower.
func (r *loopbackRouting) Synced(ctx context.Context, _, is *service.Table, _ service.PortSet) error {
	if r.done || !is.NodePorts.Loopback {
		return nil
	}
	if err := node.AllowLoopbackRouting(); err != nil {
		// All else works without, and where /proc/sys can be read only, that is for as long as this process lives.
		if !r.said {
			r.said = true
			klog.FromContext(ctx).Error(err, "Node ports do not answer on 127.0.0.1")
		}
		return nil
	}
	r.done = true
	return nil
}
