package ipvs

import (
	"github.com/fairlead/fairlead/pkg/service"
)

// wish is what should be for one frontend at one address.
type wish struct {
	port     *service.Port
	frontend service.Frontend
	// everybody is whom the virtual server sends to. inside, where it is not empty, is whom the second one sends pods and the
	// node itself to, instead.
	everybody, inside []service.Endpoint
	// lingers: there is nobody to send to any more, but standing connections need the virtual server.
	lingers bool
	// deleted: no Service has the frontend any more; see Backend.deleted.
	deleted bool
}

// newWish reads what the Table says of a frontend.
func newWish(p *service.Port, f service.Frontend) *wish {
	w := &wish{port: p, frontend: f}
	switch f.Scope {
	case service.Cluster:
		w.everybody = p.Endpoints
	case service.Node:
		w.everybody = p.Local
	case service.NodeForOutsiders:
		w.everybody, w.inside = p.Local, p.Endpoints
	}
	return w
}

// unserved reports whether the port has endpoints for nobody. Then it does not matter who asks.
func (w *wish) unserved() bool { return len(w.port.Endpoints) == 0 && len(w.port.Local) == 0 }

// reached reports whether packets have to be led to the virtual server for everybody.
func (w *wish) reached() bool { return len(w.everybody) > 0 || w.lingers }

// entries lists what a frontend has in a set.
func (w *wish) entries(k key, id setID) []entry {
	if w == nil {
		return nil
	}
	if id == setAdmitted {
		return w.admitted(k)
	}
	if w.in(id) {
		return []entry{{key: k}}
	}
	return nil
}

func (w *wish) in(id setID) bool {
	masquerade := service.MasqueradeHairpin // outsiders keep their address where they are told apart
	if w.frontend.Scope != service.NodeForOutsiders {
		masquerade = w.frontend.Masquerade
	}
	served := len(w.everybody) > 0
	switch id {
	case setVirtual:
		return w.reached()
	case setInside:
		return len(w.inside) > 0
	case setMasqAll:
		return served && masquerade == service.MasqueradeAll
	case setMasqOutside:
		return served && masquerade == service.MasqueradeOutsiders
	case setRanged:
		return w.frontend.Clients != nil && !w.unserved()
	case setReject:
		if w.deleted && !w.lingers && !w.refuses() {
			return false
		}
		return !served && w.frontend.WithoutEndpoints == service.Reject
	case setDrop:
		return !served && w.frontend.WithoutEndpoints == service.Drop
	}
	return false
}

func (w *wish) admitted(k key) []entry {
	if !w.in(setRanged) {
		return nil
	}
	list := make([]entry, len(w.frontend.Clients))
	for i, r := range w.frontend.Clients {
		list[i] = entry{key: k, client: r}
	}
	return list
}

// server is the virtual server of a frontend, at its own address or at its alias.
func (b *Backend) server(k key, p *service.Port) virtualServer {
	s := virtualServer{key: k, scheduler: b.scheduler(p), flags: ownMark}
	// mh as the node's own choice goes by the port too, as in kube-proxy, lest all connections of a client behind NAT get one endpoint.
	if s.scheduler == p.Scheduling.Scheduler && p.Scheduling.Ports || s.scheduler == "mh" && s.scheduler != p.Scheduling.Scheduler {
		s.flags |= flagPorts
	}
	// Always: without it, the clients of an endpoint that is out of service would be nobody's as long as it keeps its connections.
	if s.scheduler == "sh" || s.scheduler == "mh" {
		s.flags |= flagFallback
	}
	if p.Affinity > 0 {
		s.flags |= flagPersistent
		s.timeout = p.Affinity
	}
	return s
}

// scheduler is the one that a port asks for, or else the node's, or else the last one, whichever the kernel has.
func (b *Backend) scheduler(p *service.Port) string {
	for _, name := range []string{p.Scheduling.Scheduler, b.options.Scheduler} {
		if name != "" && !b.missing(name) {
			return name
		}
	}
	return lastScheduler
}

// ownMark is in the flags of each virtual server of ours: "FL" in the high half, where the kernel keeps every bit that it is given
// and uses none (struct ip_vs_service, up to Linux 6.18). So they are known after a restart, and others are never touched.
const (
	ownMark     uint32 = 0x464c_0000
	ownMarkBits uint32 = 0xffff_0000
)

// ours reports whether Fairlead made a virtual server.
func (s virtualServer) ours() bool { return s.flags&ownMarkBits == ownMark }
