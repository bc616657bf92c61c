package service

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Options are the settings that decide what a Table looks like.
type Options struct {
	Family Family
	// NodeName is the name of the own Node, as endpoints name it.
	NodeName string
	// Pods is the address range of all pods of the cluster; invalid where it is not known.
	Pods netip.Prefix
	// MasqueradeAll rewrites the source of everything that goes through a Service.
	MasqueradeAll bool
}

// Builder makes Tables out of API objects. It keeps of them only what a Table needs, and what changes recompiles only the
// Services it touches. A Builder is for one goroutine at a time.
type Builder struct {
	options  Options
	services map[serviceName]*service
	owners   map[types.NamespacedName]serviceName // slice to service
	claims   claims
	changed  map[serviceName]struct{}
	table    *Table
}

// NewBuilder returns a Builder that has seen no object yet.
func NewBuilder(options Options) *Builder {
	return &Builder{
		options:  options,
		services: map[serviceName]*service{},
		owners:   map[types.NamespacedName]serviceName{},
		claims:   claims{},
		changed:  map[serviceName]struct{}{},
		table:    &Table{Family: options.Family, Pods: options.Pods},
	}
}

// SetService takes in a new or changed Service.
func (b *Builder) SetService(svc *corev1.Service) {
	name := serviceName{Namespace: svc.Namespace, Name: svc.Name}
	b.setSpec(name, readService(svc, b.options.Family))
}

// DeleteService forgets a Service. Its slices stay known, should it come back.
func (b *Builder) DeleteService(namespace, name string) {
	b.setSpec(serviceName{Namespace: namespace, Name: name}, nil)
}

func (b *Builder) setSpec(name serviceName, s *spec) {
	if s == nil && b.services[name] == nil {
		return
	}
	svc := b.change(name)
	svc.spec, svc.stale = s, true
}

// SetSlice takes in a new or changed EndpointSlice. One of another family, or of no Service, counts as absent.
func (b *Builder) SetSlice(slice *discoveryv1.EndpointSlice) {
	key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name}
	owner, owned := sliceService(slice)
	if !owned || string(slice.AddressType) != b.options.Family.String() {
		b.DeleteSlice(slice.Namespace, slice.Name)
		return
	}
	if was, known := b.owners[key]; known && was != owner {
		b.DeleteSlice(slice.Namespace, slice.Name)
	}
	b.owners[key] = owner
	b.change(owner).slices[slice.Name] = readSlice(slice, b.options.Family, b.options.NodeName)
}

// DeleteSlice forgets an EndpointSlice.
func (b *Builder) DeleteSlice(namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	owner, known := b.owners[key]
	if !known {
		return
	}
	delete(b.owners, key)
	delete(b.change(owner).slices, name)
}

// change marks a service for compilation.
func (b *Builder) change(name serviceName) *service {
	b.changed[name] = struct{}{}
	svc := b.services[name]
	if svc == nil {
		svc = &service{slices: map[string]*endpointSlice{}}
		b.services[name] = svc
	}
	return svc
}

// Pending reports whether an object has changed since the last Build.
func (b *Builder) Pending() bool { return len(b.changed) > 0 }

// Build returns the Table of all objects seen, the ports in which it differs from the Table that the last call returned,
// and the problems that have come up since.
func (b *Builder) Build() (table *Table, dirty PortSet, problems []Problem) {
	b.claim()
	var edits []edit
	for name := range b.changed {
		edits = append(edits, b.rebuild(name, &problems)...)
	}
	clear(b.changed)
	slices.SortFunc(edits, func(x, y edit) int { return x.name.Compare(y.name) })
	slices.SortFunc(problems, compareProblems)
	dirty = make(PortSet, len(edits))
	for _, e := range edits {
		dirty.Add(e.name)
	}
	if len(edits) > 0 {
		next := *b.table
		next.Ports = applyEdits(b.table.Ports, edits)
		b.table = &next
	}
	return b.table, dirty, problems
}

// claim settles who has which address. A service that loses or gains an address because another one changed is compiled
// again with it.
func (b *Builder) claim() {
	for _, name := range slices.Collect(maps.Keys(b.changed)) {
		svc := b.services[name]
		if !svc.stale {
			continue
		}
		wanted := b.wanted(svc.spec)
		var created int64
		if svc.spec != nil && !svc.spec.created.IsZero() {
			created = svc.spec.created.UnixNano()
		}
		for _, other := range b.claims.set(name, svc.wanted, wanted, created) {
			b.changed[other] = struct{}{}
		}
		svc.wanted, svc.stale = wanted, false
	}
}

// rebuild compiles one service and says what changes in the Table. New problems are added to found.
func (b *Builder) rebuild(name serviceName, found *[]Problem) []edit {
	svc := b.services[name]
	ports, problems := b.compile(svc)
	if svc.spec != nil {
		problems = append(problems, svc.spec.problems...)
		for _, s := range svc.slices {
			problems = append(problems, s.problems...)
		}
	}
	for _, p := range problems {
		if !slices.Contains(svc.problems, p) {
			*found = append(*found, p)
		}
	}
	edits := diff(svc.ports, ports)
	svc.ports, svc.problems = ports, problems
	if svc.empty() {
		delete(b.services, name)
	}
	return edits
}
