package service

import (
	"cmp"
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
	// Pods tells pods from everybody else, until SetPods says otherwise.
	Pods LocalTraffic
	// APIServer is the address by which this program reaches the API server. No external IP takes it: the program could not learn any more
	// that the Service with that external IP has been deleted. It may be invalid.
	APIServer netip.AddrPort
	// MasqueradeAll rewrites the source of everything that goes through a Service.
	MasqueradeAll bool
	// MasqueradeInternalIP rewrites sources to the first address of the own Node object, once that is known, whatever interface a
	// packet leaves by (kubernetes#133024).
	MasqueradeInternalIP bool
}

// Builder makes Tables out of API objects. It keeps of them only what a Table needs, and what changes recompiles only the
// Services it touches. A Builder is for one goroutine at a time.
type Builder struct {
	options   Options
	services  map[serviceName]*service
	owners    map[types.NamespacedName]serviceName // slice to service
	claims    claims
	changed   map[serviceName]struct{}
	node      OwnNode
	checks    map[serviceName]HealthCheck
	table     *Table        // as Build returned it last
	nodePorts NodeAddresses // for the next one
}

// OwnNode is what decides about traffic of the node that the Table is for.
type OwnNode struct {
	Zone string
	// Addresses are those that the Node object names.
	Addresses []netip.Addr
}

// NewBuilder returns a Builder that has seen no object yet.
func NewBuilder(options Options) *Builder {
	return &Builder{
		options:   options,
		services:  map[serviceName]*service{},
		owners:    map[types.NamespacedName]serviceName{},
		claims:    claims{},
		changed:   map[serviceName]struct{}{},
		checks:    map[serviceName]HealthCheck{},
		table:     &Table{Family: options.Family, Pods: options.Pods, NodePorts: NodeAddresses{All: true}},
		nodePorts: NodeAddresses{All: true},
	}
}

// SetNode takes in a new or changed own Node. It concerns every Service: which endpoints are near, and whom source ranges admit.
func (b *Builder) SetNode(node OwnNode) {
	if node.Zone == b.node.Zone && slices.Equal(node.Addresses, b.node.Addresses) {
		return
	}
	b.node = node
	b.changeAll()
}

func (b *Builder) changeAll() {
	for name, svc := range b.services {
		svc.stale = true
		b.changed[name] = struct{}{}
	}
}

// SetPods says how pods are told from everybody else from now on.
func (b *Builder) SetPods(pods LocalTraffic) {
	if pods == b.options.Pods {
		return
	}
	b.options.Pods = pods
	b.changeAll() // who is masqueraded depends on it
}

// SetNodePorts says on which addresses of the node node ports answer from now on.
func (b *Builder) SetNodePorts(addresses NodeAddresses) { b.nodePorts = addresses }

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

// SetSlice takes in a new or changed EndpointSlice, and reports whether it says anything new. One of another family, or of no Service,
// counts as absent.
func (b *Builder) SetSlice(slice *discoveryv1.EndpointSlice) bool {
	key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name}
	owner, owned := sliceService(slice)
	if !owned || string(slice.AddressType) != b.options.Family.String() {
		return b.DeleteSlice(slice.Namespace, slice.Name)
	}
	was, known := b.owners[key]
	if known && was != owner {
		b.DeleteSlice(slice.Namespace, slice.Name)
		known = false
	}
	is := readSlice(slice, b.options.Family, b.options.NodeName)
	if known && b.services[owner].slices[slice.Name].equal(is) {
		return false
	}
	b.owners[key] = owner
	b.change(owner).slices[slice.Name] = is
	return true
}

// DeleteSlice forgets an EndpointSlice, and reports whether it was known.
func (b *Builder) DeleteSlice(namespace, name string) bool {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	owner, known := b.owners[key]
	if !known {
		return false
	}
	delete(b.owners, key)
	delete(b.change(owner).slices, name)
	return true
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

// Pending reports whether something has changed since the last Build.
func (b *Builder) Pending() bool {
	return len(b.changed) > 0 || !b.upToDate().SameNode(b.table)
}

// Build returns the Table of all objects seen, the ports in which it differs from the Table that the last call returned,
// and the problems that have come up since. A Table in which nothing at all differs is the same pointer.
func (b *Builder) Build() (table *Table, dirty PortSet, problems []Problem) {
	b.claim()
	var edits []edit
	for name := range b.changed {
		edits = append(edits, b.rebuild(name, &problems)...)
	}
	clear(b.changed)
	slices.SortFunc(edits, func(x, y edit) int { return x.name.Compare(y.name) })
	slices.SortFunc(problems, compareProblems)
	problems = slices.Compact(problems)
	dirty = make(PortSet, len(edits))
	for _, e := range edits {
		dirty.Add(e.name)
	}
	checks := sortedChecks(b.checks)
	next := b.upToDate()
	if len(edits) > 0 || !next.SameNode(b.table) || !slices.Equal(checks, b.table.HealthChecks) {
		next.HealthChecks = checks
		if len(edits) > 0 {
			next.Ports = applyEdits(b.table.Ports, edits)
		}
		b.table = next
	}
	return b.table, dirty, problems
}

// upToDate is the last Table with what has been said of the node since.
func (b *Builder) upToDate() *Table {
	next := *b.table
	next.Pods, next.NodePorts = b.options.Pods, b.nodePorts
	if b.options.MasqueradeInternalIP {
		for _, a := range slices.Backward(b.node.Addresses) {
			if FamilyOf(a) == b.options.Family {
				next.MasqueradeAddress = a
			}
		}
	}
	return &next
}

func sortedChecks(checks map[serviceName]HealthCheck) []HealthCheck {
	list := slices.Collect(maps.Values(checks))
	slices.SortFunc(list, func(x, y HealthCheck) int {
		return cmp.Or(cmp.Compare(x.Service.Namespace, y.Service.Namespace), cmp.Compare(x.Service.Name, y.Service.Name))
	})
	return list
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
		for _, other := range b.claims.set(name, svc.wanted, wanted) {
			b.changed[other] = struct{}{}
		}
		b.noteSharers(svc.wanted)
		b.noteSharers(wanted)
		svc.wanted, svc.stale = wanted, false
	}
}

// noteSharers marks the services that have something to say, or no longer, about ports that they share with others on the node's addresses.
func (b *Builder) noteSharers(ports []*Port) {
	for _, p := range ports {
		for _, f := range p.Frontends {
			for _, rival := range b.sharesNode(f, p.Name) {
				b.changed[rival.service()] = struct{}{}
			}
		}
	}
}

// rebuild compiles one service and says what changes in the Table. New problems are added to found.
func (b *Builder) rebuild(name serviceName, found *[]Problem) []edit {
	svc := b.services[name]
	ports, contested := b.compile(svc)
	*found = append(*found, svc.tell(name, contested)...)
	if svc.spec != nil && svc.spec.healthPort != 0 {
		b.checks[name] = HealthCheck{Service: name, Port: svc.spec.healthPort, LocalEndpoints: readyHere(svc.slices)}
	} else {
		delete(b.checks, name)
	}
	edits := diff(svc.ports, ports)
	svc.ports = ports
	if svc.empty() {
		delete(b.services, name)
	}
	return edits
}

// tell returns the problems that there are now and that have not been told.
func (s *service) tell(name serviceName, contested contests) (untold []Problem) {
	var all map[Problem]struct{}
	note := func(list []Problem) {
		for _, p := range list {
			if all == nil {
				all = map[Problem]struct{}{}
			}
			all[p] = struct{}{}
			if _, told := s.problems[p]; !told {
				untold = append(untold, p)
			}
		}
	}
	if s.spec != nil {
		note(contested.problems(name))
		note(s.spec.problems.all())
		for _, slice := range s.slices {
			note(slice.problems)
		}
	}
	s.problems = all
	return untold
}
