package iptables

import (
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
