package ipvs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

const (
	// mostEntries is how many set entries one Service can have: a sixteenth of what one set takes. All Services share the sets, and what does
	// not fit into a full set cannot be served. A load balancer with 100 ports and 600 source ranges stays below it.
	mostEntries = maxEntries / 16
	// entriesOfFrontend is how many entries a frontend has at most at one address, beside its source ranges.
	entriesOfFrontend = 4
)

// cost is how many set entries a service port can need, whatever its endpoints are.
func cost(p *service.Port, nodes service.NodeAddresses) int {
	entries := 0
	for _, f := range p.Frontends {
		addresses := 1
		if f.Kind == service.NodePort {
			addresses = len(nodes.Listed)
		}
		entries += addresses * (entriesOfFrontend + len(f.Clients))
	}
	return entries
}

// surplus are the ports of a Service that do not fit into mostEntries, in the order of their names.
func surplus(ports []*service.Port, nodes service.NodeAddresses) []service.PortName {
	var list []service.PortName
	left := mostEntries
	for _, p := range ports {
		if c := cost(p, nodes); c <= left {
			left -= c
		} else {
			list = append(list, p.Name)
		}
	}
	return list
}

// limit finds the ports of some Services that are left out, and returns those of which that has changed.
func (b *Backend) limit(ctx context.Context, table *service.Table, services map[types.NamespacedName]struct{}) (leftOut map[types.NamespacedName]service.PortSet, changed service.PortSet) {
	leftOut, changed = map[types.NamespacedName]service.PortSet{}, service.PortSet{}
	for name := range services {
		out := surplus(portsOf(table, name), table.NodePorts)
		leftOut[name] = service.PortSet{}
		for _, p := range out {
			leftOut[name].Add(p)
		}
		for _, sets := range [][2]service.PortSet{{leftOut[name], b.leftOut[name]}, {b.leftOut[name], leftOut[name]}} {
			for p := range sets[0] {
				if _, both := sets[1][p]; !both {
					changed.Add(p)
				}
			}
		}
		if len(out) > 0 {
			b.tell(ctx, name, "TooManySetEntries", fmt.Sprintf("ports not served: %s; a Service can have %d entries in ipsets, %d for each address of a port and one for each of its source ranges; use fewer ports, addresses or loadBalancerSourceRanges",
				fewPorts(out), mostEntries, entriesOfFrontend))
		}
	}
	return leftOut, changed
}

// fewPorts names the first few of many ports.
func fewPorts(list []service.PortName) string {
	const shown = 5
	var names []string
	for _, p := range list[:min(shown, len(list))] {
		names = append(names, strings.TrimPrefix(p.Port+"/"+strings.ToLower(p.Protocol.String()), "/"))
	}
	text := strings.Join(names, ", ")
	if more := len(list) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// takeLimit takes over which ports are left out.
func (b *Backend) takeLimit(leftOut map[types.NamespacedName]service.PortSet) {
	for name, ports := range leftOut {
		if len(ports) == 0 {
			delete(b.leftOut, name)
		} else {
			b.leftOut[name] = ports
		}
	}
}

// within are the ports that are not left out.
func (b *Backend) within(ports []*service.Port) []*service.Port {
	if len(b.leftOut) == 0 {
		return ports
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p *service.Port) bool {
		_, out := b.leftOut[p.Name.Service()][p.Name]
		return out
	})
}

// joined are the ports of two sets.
func joined(x, y service.PortSet) service.PortSet {
	all := maps.Clone(x)
	for p := range y {
		all.Add(p)
	}
	return all
}
