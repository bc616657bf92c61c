package conntrack

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/pkg/service"
)

// owner is the port that has a frontend now; none where port is nil.
type owner struct {
	port   *service.Port
	served bool // it has endpoints for this frontend
}

// judge says which flows must go. It looks no further than the frontends of a backlog.
type judge struct {
	options Options
	table   *service.Table
	owners  map[frontend]owner
	// nodePorts: some of owners are node ports.
	nodePorts bool
	// virtual are the virtual IPs with the number of a node port in owners. They go before it.
	virtual func() map[frontend]struct{}
}

func newJudge(b *backlog, is *service.Table, options Options) *judge {
	j := &judge{options: options, table: is, owners: make(map[frontend]owner, len(b.frontends))}
	for f := range b.frontends {
		j.owners[f] = owner{}
		j.nodePorts = j.nodePorts || !f.address.Addr().IsValid()
	}
	if b.all {
		for _, p := range is.Ports {
			j.own(p)
		}
	} else {
		for name := range b.ports {
			if p := is.Port(name); p != nil {
				j.own(p)
			}
		}
	}
	j.virtual = sync.OnceValue(j.findVirtual)
	return j
}

func (j *judge) own(p *service.Port) {
	for _, f := range p.Frontends {
		key := frontend{p.Name.Protocol, f.Address}
		if _, watched := j.owners[key]; watched {
			j.owners[key] = owner{p, served(p, f)}
		}
	}
}

// only is the one protocol that flows can be stale of, or 0.
func (j *judge) only() service.Protocol {
	for f := range j.owners {
		if f.protocol != service.UDP {
			return 0
		}
	}
	return service.UDP
}

// stale reports whether a flow must go, because the rules would send its next packet elsewhere, and nobody is served where it
// goes now.
func (j *judge) stale(f flow) bool {
	o, watched := j.ownerOf(f)
	switch {
	case !watched || keeps(o.port, f.from):
		return false
	case f.translated():
		return f.protocol == service.UDP || f.opening && followed(f.protocol, j.options.UnrepliedTCP)
	default:
		// It was tried before the rules stood. The kernel does not ask them again as long as the entry lives, which is as long
		// as the client keeps trying. A connection over TCP or SCTP that came about was with somebody else.
		return o.served && (f.protocol == service.UDP || f.opening)
	}
}

// ownerOf finds the frontend that a flow goes to, if it is one of those that are looked at.
func (j *judge) ownerOf(f flow) (o owner, watched bool) {
	if o, watched = j.owners[frontend{f.protocol, f.to}]; watched || !j.nodePorts {
		return o, watched
	}
	if o, watched = j.owners[nodePort(f.protocol, f.to.Port())]; !watched {
		return o, false
	}
	if _, virtual := j.virtual()[frontend{f.protocol, f.to}]; virtual {
		return owner{}, false
	}
	// What goes to another machine passes through untranslated. A translated flow counts wherever it goes: the address may
	// have been the node's when it began, and may come back, as the shared address of two load balancers does.
	return o, f.translated() || j.nodePortsAnswer(f.to.Addr())
}

// nodePortsAnswer reports whether an address is one of the node's on which node ports answer.
func (j *judge) nodePortsAnswer(addr netip.Addr) bool {
	n := j.table.NodePorts
	switch {
	case addr.IsLoopback():
		return n.Loopback && addr.Is4()
	case !n.All && !slices.Contains(n.Listed, addr):
		return false
	case j.options.NodeAddress == nil:
		return !n.All
	default:
		return j.options.NodeAddress(addr)
	}
}

func (j *judge) findVirtual() map[frontend]struct{} {
	found := map[frontend]struct{}{}
	for _, p := range j.table.Ports {
		for _, f := range p.Frontends {
			_, watched := j.owners[nodePort(p.Name.Protocol, f.Address.Port())]
			if watched && f.Kind != service.NodePort {
				found[frontend{p.Name.Protocol, f.Address}] = struct{}{}
			}
		}
	}
	return found
}
