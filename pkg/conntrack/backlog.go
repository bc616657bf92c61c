package conntrack

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// frontend is an address and port that a service port answers on, or did. A node port has no IP.
type frontend struct {
	protocol service.Protocol
	address  netip.AddrPort
}

func nodePort(p service.Protocol, port uint16) frontend {
	return frontend{p, netip.AddrPortFrom(netip.Addr{}, port)}
}

// mostKept bounds what is kept from failed calls: where no call ever succeeds, it must not fill the memory.
const mostKept = 1 << 16

// backlog is which flows have to be looked at: those to frontends whose rules have changed since the last look.
type backlog struct {
	// frontends have had flows at some time since then. They are kept as addresses, since the table in which somebody had
	// them may be gone.
	frontends map[frontend]struct{}
	// ports may have gained one of frontends since then; all: any port may.
	ports service.PortSet
	all   bool
}

func newBacklog() backlog {
	return backlog{frontends: map[frontend]struct{}{}, ports: service.PortSet{}}
}

func (b *backlog) empty() bool { return len(b.frontends) == 0 }

// add takes in a change of the tables. Only what can have left a wrong flow behind counts.
func (b *backlog) add(was, is *service.Table, dirty service.PortSet, unrepliedTCP bool) {
	if b.all = b.all || dirty == nil; b.all {
		if was != nil {
			b.watch(was.Ports...)
		}
		b.watch(is.Ports...)
		return
	}
	for name := range dirty {
		b.ports.Add(name)
		if p, q := was.Port(name), is.Port(name); concerns(p, q, unrepliedTCP) {
			b.watch(p, q)
		}
	}
	if was != nil && !was.NodePorts.Equal(is.NodePorts) {
		b.watchNodePorts(is)
	}
}

// watchNodePorts has every node port looked at. They answer on other addresses now, whether their ports have changed or not.
func (b *backlog) watchNodePorts(t *service.Table) {
	for _, p := range t.Ports {
		if slices.ContainsFunc(p.Frontends, func(f service.Frontend) bool { return f.Kind == service.NodePort }) {
			b.ports.Add(p.Name)
			b.watch(p)
		}
	}
}

func (b *backlog) watch(ports ...*service.Port) {
	for _, p := range ports {
		if p == nil {
			continue
		}
		for _, f := range p.Frontends {
			b.frontends[frontend{p.Name.Protocol, f.Address}] = struct{}{}
		}
	}
}

// bound forgets frontends that nobody has any more, if there are too many. Those that somebody has come back with the next add.
func (b *backlog) bound() {
	if len(b.frontends)+len(b.ports) > mostKept {
		*b = newBacklog()
		b.all = true
	}
}
