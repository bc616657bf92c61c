package ipvs

import (
	"slices"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
)

// refuseFor is how long clients are told that a deleted frontend has cut their connections: as long as IPVS remembers an idle TCP connection.
const refuseFor = 15 * time.Minute

// deleted returns what has to be there for a frontend that no Service has any more: standing connections keep their virtual server, which
// drains as if all endpoints had gone (kubernetes#71894), and clients whose connections are cut are refused. It returns nil if there is
// nothing to keep and nobody to tell.
func (b *Backend) deleted(k key) (*wish, error) {
	if isAlias(k) || b.excluded(k) {
		return nil, nil
	}
	h := b.held.servers[k]
	if h == nil {
		return b.refused(k), nil
	}
	if !h.ours() {
		return nil, nil
	}
	last := b.lastWish(k)
	if last == nil && h.takesConnections() {
		return nil, nil // made by an earlier process, perhaps for an address that the node does not have any more
	}
	if last != nil && last.frontend.Kind == service.NodePort && !slices.Contains(b.frontends.nodes, k.address.Addr()) {
		return nil, nil // the node has lost the address, and packets for it are not ours
	}
	list, err := b.kernel.servers.ListReal(k)
	if err != nil {
		return nil, err
	}
	// Only open connections make it drain, or every deletion would be delayed by those that a client has just closed. Once it drains,
	// all connections count.
	connected := func(r realServer) bool { return r.established > 0 }
	if last == nil || last.deleted {
		connected = func(r realServer) bool { return r.connections > 0 }
	}
	if !slices.ContainsFunc(list, connected) {
		return nil, nil
	}
	w := &wish{deleted: true, port: deletedPort(h, last), frontend: service.Frontend{WithoutEndpoints: service.Reject}}
	switch {
	case last != nil:
		w.frontend.Kind = last.frontend.Kind
	case slices.Contains(b.frontends.nodes, k.address.Addr()):
		w.frontend.Kind = service.NodePort
	}
	w.lingers = slices.ContainsFunc(list, func(r realServer) bool { return connected(r) && b.keeps(w.port, r.address) })
	if !w.lingers && !w.refuses() {
		return nil, nil
	}
	return w, nil
}

// deletedPort is a service port without endpoints.
func deletedPort(h *heldServer, last *wish) *service.Port {
	if last == nil {
		return &service.Port{Name: service.PortName{Protocol: h.protocol}, Scheduling: service.Scheduling{Scheduler: h.scheduler}}
	}
	return &service.Port{Name: last.port.Name, Scheduling: last.port.Scheduling}
}

// lastWish is what was there before, also where the kernel has just been read again.
func (b *Backend) lastWish(k key) *wish {
	if w := b.wishes[k]; w != nil {
		return w
	}
	return b.lastWishes[k]
}

// refused returns what has to be there after the virtual server of a deleted frontend has gone; nil: nothing.
func (b *Backend) refused(k key) *wish {
	until, ok := b.refusing[k]
	if !ok || !b.kernel.now().Before(until) {
		return nil
	}
	return b.lastWish(k)
}

// refuses reports whether clients of a deleted frontend have to be told when its virtual server goes. At a node port the node's own TCP
// does that, and an external IP may be another host's from now on.
func (w *wish) refuses() bool {
	return w.frontend.Kind == service.ClusterIP || w.frontend.Kind == service.LoadBalancerIP
}

// settleDeleted notes until when clients are refused at a key.
func (b *Backend) settleDeleted(k key, w *wish) {
	switch {
	case w == nil || !w.deleted || w.lingers || !w.refuses():
		delete(b.refusing, k)
	case b.refusing[k].IsZero():
		if b.refusing == nil {
			b.refusing = map[key]time.Time{}
		}
		b.refusing[k] = b.kernel.now().Add(refuseFor)
	}
}

// refusedLongEnough are the keys at which clients have been refused for their time.
func (b *Backend) refusedLongEnough() []key {
	var list []key
	for k, until := range b.refusing {
		if !b.kernel.now().Before(until) {
			list = append(list, k)
		}
	}
	return list
}
