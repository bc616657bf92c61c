package service

import (
	"cmp"
	"slices"
)

// edit is one change to the sorted list of ports: port takes the place of whatever has the name; nil takes it away.
type edit struct {
	name PortName
	port *Port
}

// diff says how to come from one list of a service's ports to another, both sorted by name.
func diff(was, is []*Port) []edit {
	var edits []edit
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].Name.Compare(is[0].Name) < 0:
			edits = append(edits, edit{was[0].Name, nil})
			was = was[1:]
		case len(was) == 0 || was[0].Name.Compare(is[0].Name) > 0:
			edits = append(edits, edit{is[0].Name, is[0]})
			is = is[1:]
		default:
			if was[0].Equal(is[0]) {
				is[0] = was[0] // so that the Tables share it
			} else {
				edits = append(edits, edit{is[0].Name, is[0]})
			}
			was, is = was[1:], is[1:]
		}
	}
	return edits
}

// applyEdits returns a new list. Both ports and edits are sorted by name.
func applyEdits(ports []*Port, edits []edit) []*Port {
	result := make([]*Port, 0, len(ports)+len(edits))
	for _, e := range edits {
		at, found := slices.BinarySearchFunc(ports, e.name, func(p *Port, n PortName) int { return p.Name.Compare(n) })
		result = append(result, ports[:at]...)
		if e.port != nil {
			result = append(result, e.port)
		}
		if found {
			at++
		}
		ports = ports[at:]
	}
	return append(result, ports...)
}

func compareProblems(x, y Problem) int {
	return cmp.Or(cmp.Compare(x.Object, y.Object), cmp.Compare(x.What, y.What))
}
