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

// withoutPorts returns a Table without the service ports that are left out.
func withoutPorts(t *service.Table, left service.Unwritten) *service.Table {
	by := make(map[service.PortName]*service.Port, len(left))
	for name := range left {
		by[name] = nil
	}
	return replacePorts(t, by)
}

// withLeft returns the dirty service ports and those that the last Sync left out.
func withLeft(dirty service.PortSet, left service.Unwritten) service.PortSet {
	dirty = maps.Clone(dirty)
	dirty.Add(slices.Collect(maps.Keys(left))...)
	return dirty
}

// leaveOut returns what of a Table is to be written, and remembers what is not: service ports that the kernel refuses, which stay as they
// were before where nothing leads to them in another way now, and those whose chains would have the names of another one's.
func (b *Backend) leaveOut(ctx context.Context, t, before *service.Table, dirty service.PortSet) *service.Table {
	b.left = b.holdBack(ctx, t)
	by := make(map[service.PortName]*service.Port, len(b.left))
	for name := range b.left {
		by[name] = nil
		if before == nil {
			continue
		}
		if old := before.Port(name); old != nil && sameFrontends(old, t.Port(name)) {
			by[name] = old
		}
	}
	want := replacePorts(t, by)
	var lost service.Unwritten
	if dirty == nil {
		b.claims, lost = claimAll(want)
	} else {
		lost = b.claims.reclaim(before, want, dirty)
	}
	maps.Copy(b.left, lost)
	return withoutPorts(want, lost)
}

// writeRest writes a Table after the kernel has refused it, without the service ports that it refuses among some. It returns what it wrote.
func (b *Backend) writeRest(ctx context.Context, t, before *service.Table, some []*service.Port, refusal error) (*service.Table, error) {
	found, err := b.findRefused(ctx, t, some)
	if err != nil {
		return nil, errors.Join(refusal, err)
	}
	if !found {
		return nil, refusal
	}
	want := b.leaveOut(ctx, t, before, nil)
	err = b.write(ctx, want, nil)
	if isRefusal(err) && before != nil { // what the kernel once took, it may refuse now
		want = b.leaveOut(ctx, t, nil, nil)
		err = b.write(ctx, want, nil)
	}
	return want, err
}

// suspects are the service ports that the kernel may have refused.
func suspects(want *service.Table, dirty service.PortSet) []*service.Port {
	if dirty == nil {
		return want.Ports
	}
	return slices.DeleteFunc(slices.Clone(want.Ports), func(p *service.Port) bool {
		_, ok := dirty[p.Name]
		return !ok
	})
}
