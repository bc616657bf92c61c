package ipvs

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// ports are those of the named service ports that are there.
func ports(table *service.Table, names service.PortSet) []*service.Port {
	var list []*service.Port
	for name := range names {
		if p := table.Port(name); p != nil {
			list = append(list, p)
		}
	}
	return list
}

// portsOf are the ports of one Service.
func portsOf(table *service.Table, name types.NamespacedName) []*service.Port {
	first := service.PortName{Namespace: name.Namespace, Name: name.Name}
	i, _ := slices.BinarySearchFunc(table.Ports, first, func(p *service.Port, n service.PortName) int { return p.Name.Compare(n) })
	end := i
	for end < len(table.Ports) && table.Ports[end].Name.Service() == name {
		end++
	}
	return table.Ports[i:end]
}

// servicesOf are the Services that some service ports belong to.
func servicesOf(ports service.PortSet) map[types.NamespacedName]struct{} {
	list := map[types.NamespacedName]struct{}{}
	for p := range ports {
		list[p.Service()] = struct{}{}
	}
	return list
}

// allServices are those of a Table.
func allServices(table *service.Table) map[types.NamespacedName]struct{} {
	list := map[types.NamespacedName]struct{}{}
	for _, p := range table.Ports {
		list[p.Name.Service()] = struct{}{}
	}
	return list
}
