package iptables

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// replacePorts returns a Table with other states of some service ports; nil: without them.
func replacePorts(t *service.Table, by map[service.PortName]*service.Port) *service.Table {
	if len(by) == 0 {
		return t
	}
	changed := *t
	changed.Ports = make([]*service.Port, 0, len(t.Ports))
	for _, p := range t.Ports {
		if other, ok := by[p.Name]; ok {
			p = other
		}
		if p != nil {
			changed.Ports = append(changed.Ports, p)
		}
	}
	return &changed
}

// withLeft returns the dirty service ports and those that the last Sync left out.
func withLeft(dirty service.PortSet, left service.Unwritten) service.PortSet {
	dirty = maps.Clone(dirty)
	dirty.Add(slices.Collect(maps.Keys(left))...)
	return dirty
}

// leaveOut returns what of a Table is to be written, and remembers what is not: service ports that the kernel refuses, and those whose
// chains would have the names of another one's.
func (b *Backend) leaveOut(ctx context.Context, t *service.Table, dirty service.PortSet) *service.Table {
	b.left = b.holdBack(ctx, t)
	by := make(map[service.PortName]*service.Port, len(b.left))
	for name := range b.left {
		by[name] = b.instead(t.Port(name))
	}
	want := replacePorts(t, by)
	var lost service.Unwritten
	if dirty == nil {
		b.claims, lost = claimAll(want)
	} else {
		lost = b.claims.reclaim(b.last, want, dirty)
	}
	maps.Copy(b.left, lost)
	clear(by)
	for name := range lost {
		by[name] = nil
		if !b.layout.counters { // what counts is a chain too
			by[name] = b.stub(t.Port(name))
		}
	}
	return replacePorts(want, by)
}

// instead is what is written for a service port that the kernel refuses: it stays as it was before, also after a Sync that failed; but where
// it answers in another way now, or that is refused too, it is written without endpoints. nil: nothing.
func (b *Backend) instead(p *service.Port) *service.Port {
	if old := b.former(p.Name); old != nil && sameFrontends(old, p) && !b.refused.lacks(old) {
		return old
	}
	if known := b.refused.ports[p.Name]; known != nil && known.bare {
		return nil
	}
	return b.stub(p)
}

// former is a service port as it was written last.
func (b *Backend) former(name service.PortName) *service.Port {
	if b.last == nil {
		return nil
	}
	return b.last.Port(name)
}

// stub is a service port without endpoints, so that its clients are refused, or their packets dropped, rather than go elsewhere. nil if the
// kernel does not have what even that needs.
func (b *Backend) stub(p *service.Port) *service.Port {
	bare := *p
	bare.Endpoints, bare.Local, bare.Serving, bare.Affinity = nil, nil, nil, 0
	bare.Frontends = slices.Clone(p.Frontends)
	rejects := !b.refused.lacks(&bare)
	for i := range bare.Frontends {
		f := &bare.Frontends[i]
		f.Clients = nil
		if !rejects && f.WithoutEndpoints == service.Reject {
			f.WithoutEndpoints = service.Drop
		}
	}
	if b.refused.lacks(&bare) {
		return nil
	}
	return &bare
}

// writeRest writes a Table after the kernel has refused it: once more as it is, and if it is refused again, without the service ports that
// the kernel is proven to refuse among some. It returns what it wrote.
func (b *Backend) writeRest(ctx context.Context, t, want *service.Table, dirty service.PortSet) (*service.Table, error) {
	refusal := b.write(ctx, want, nil)
	if !isRefusal(refusal) {
		return want, refusal
	}
	some := slices.DeleteFunc(suspects(want, dirty), func(p *service.Port) bool { return b.left[p.Name] != nil })
	found, err := b.findRefused(ctx, t, some)
	if err != nil {
		return nil, errors.Join(refusal, err)
	}
	if !found {
		if found, err = b.replaceRefused(ctx, t, want); err != nil || !found {
			return nil, errors.Join(refusal, err)
		}
	}
	for states := 3; found && states > 0; states-- { // as before, without endpoints, not at all
		want = b.leaveOut(ctx, t, nil)
		if refusal = b.write(ctx, want, nil); !isRefusal(refusal) {
			return want, refusal
		}
		if found, err = b.replaceRefused(ctx, t, want); err != nil {
			break
		}
	}
	return nil, errors.Join(refusal, err)
}

// replaceRefused finds what the kernel refuses among that which is written instead of service ports that are left out, so that instead
// returns something else, and reports whether there is any.
func (b *Backend) replaceRefused(ctx context.Context, t, want *service.Table) (found bool, err error) {
	var written []*service.Port
	for _, p := range want.Ports {
		if b.left[p.Name] != nil {
			written = append(written, p)
		}
	}
	s := search{backend: b, table: want, most: mostTries, found: service.Unwritten{}, taken: service.PortSet{}}
	err = s.all(ctx, written)
	forget := map[service.PortName]*service.Port{}
	for name, reason := range s.found {
		if b.former(name) == want.Port(name) {
			forget[name] = nil
			continue
		}
		if b.refused.ports[name] == nil {
			b.refused.port(t.Port(name), reason, b.now())
		}
		b.refused.ports[name].bare = true
	}
	if len(forget) > 0 {
		b.last = replacePorts(b.last, forget)
	}
	return len(s.found) > 0, err
}

// suspects are the service ports that the kernel may have refused.
func suspects(want *service.Table, dirty service.PortSet) []*service.Port {
	if dirty == nil {
		return slices.Clone(want.Ports)
	}
	return slices.DeleteFunc(slices.Clone(want.Ports), func(p *service.Port) bool {
		_, ok := dirty[p.Name]
		return !ok
	})
}
