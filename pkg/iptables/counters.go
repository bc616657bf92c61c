package iptables

import (
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// The connections of a service port are counted by a chain of its own with one rule, which has no target: it counts and goes on. The pools
// of endpoints jump there first. It is not a rule of the pool's, as the kernel's counters begin at zero in a chain that is written, and
// pools are written whenever an endpoint comes or goes. So this chain is the same as long as there is the service port, endpoints or not.

// countChains renders what counts the connections of a port.
func (l layout) countChains(p *service.Port) []xtables.Chain {
	if !l.counters {
		return nil
	}
	w := xtables.NewChain(portChain(prefixCount, p.Name))
	w.Rule()
	return []xtables.Chain{w.Chain}
}

// count writes the rule that leads to what counts.
func (l layout) count(w *xtables.ChainWriter, p *service.Port) {
	if l.counters {
		w.Rule("-j", portChain(prefixCount, p.Name))
	}
}

// TakeTraffic returns the connections that were opened since the last call, as of the last time that the rules were read: by a Sync of
// everything, or by Verify. It returns nil if there was none, or if nothing is counted.
func (b *Backend) TakeTraffic() *service.TrafficCounts {
	if b.table == nil || !b.layout.counters {
		return nil
	}
	more := b.rules.Packets()
	if more == nil {
		return nil
	}
	counts := &service.TrafficCounts{Ports: map[service.PortName]service.Traffic{}}
	if len(more) == 0 {
		return counts
	}
	for _, p := range b.table.Ports {
		if n := more[portChain(prefixCount, p.Name)]; n > 0 {
			counts.Ports[p.Name] = service.Traffic{Connections: n}
		}
	}
	return counts
}
