package iptables

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// claims knows which service port each identity belongs to. Chain names are hashes, and whoever may name Services can search for names that
// collide. Two service ports in one chain would get each other's connections, so the first by name has it, on every node and after every
// restart, and the other one is not written at all.
type claims map[string]service.PortName

// sharedNameError says that a service port is not served because its chains would have the names of another one's.
type sharedNameError struct{ with service.PortName }

// Error implements error.
func (e sharedNameError) Error() string {
	return fmt.Sprintf("the names of its iptables chains are those of service port %s: rename this port, or its Service", e.with)
}

// identities are what the names of a service port's chains are made of.
func identities(p *service.Port) []string {
	if p == nil || len(p.Frontends) == 0 {
		return nil
	}
	list := []string{identity(p.Name)}
	for _, f := range p.Frontends {
		if f.Clients != nil {
			list = append(list, firewallIdentity(p, f))
		}
	}
	if p.Affinity > 0 {
		for _, e := range stickyEndpoints(p) {
			list = append(list, affinityIdentity(p.Name, e))
		}
	}
	return list
}

// claim gives a service port its identities. Where another one has one of them, or two of its own are the same, it gets none, and the name
// of that service port.
func (c claims) claim(p *service.Port) (other service.PortName, ok bool) {
	list := identities(p)
	for i, id := range list {
		if holder, taken := c[id]; taken {
			c.release(p.Name, list[:i])
			return holder, false
		}
		c[id] = p.Name
	}
	return service.PortName{}, true
}

// release gives back what a service port has of these identities.
func (c claims) release(name service.PortName, list []string) {
	for _, id := range list {
		if c[id] == name {
			delete(c, id)
		}
	}
}

// claimAll returns the claims of all service ports of a Table, and those that get none.
func claimAll(t *service.Table) (claims, service.Unwritten) {
	c, lost := make(claims, len(t.Ports)), service.Unwritten{}
	for _, p := range t.Ports {
		if other, ok := c.claim(p); !ok {
			lost[p.Name] = sharedNameError{other}
		}
	}
	return c, lost
}

// reclaim is claimAll where no other service ports than the dirty ones have changed since old. A service port that now has to give way to
// one before it becomes dirty too.
func (c claims) reclaim(old, t *service.Table, dirty service.PortSet) service.Unwritten {
	for name := range dirty {
		c.release(name, identities(old.Port(name)))
	}
	lost := service.Unwritten{}
	names := slices.SortedFunc(maps.Keys(dirty), service.PortName.Compare)
	for len(names) > 0 {
		p := t.Port(names[0])
		names = names[1:]
		if p == nil {
			continue
		}
		other, ok := c.claim(p)
		if ok {
			continue
		}
		if other.Compare(p.Name) <= 0 {
			lost[p.Name] = sharedNameError{other}
			continue
		}
		c.release(other, identities(t.Port(other)))
		dirty.Add(other)
		names = append([]service.PortName{p.Name, other}, names...)
	}
	return lost
}
