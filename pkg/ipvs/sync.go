package ipvs

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// syncAll reads what the kernel holds, and writes everything that is not as it should be.
func (b *Backend) syncAll(ctx context.Context, table *service.Table) error {
	if err := b.kernel.probe(); err != nil {
		return err
	}
	// Where the kernel's settings can be read only, traffic is better forwarded with those that there are than not at all.
	if err := b.kernel.tune(ctx); err != nil {
		b.once(ctx, "Could not set what IPVS needs of the kernel; going on without", "reason", err.Error())
	}
	if b.lastWishes == nil {
		b.lastWishes = map[key]*wish{}
	}
	maps.Copy(b.lastWishes, b.wishes) // those of before may be left of a call that failed
	b.forget(table)
	b.notices.forget(table, set(slices.Collect(maps.Keys(b.notices))))
	leftOut, _ := b.limit(ctx, table, allServices(table))
	b.leftOut = map[types.NamespacedName]service.PortSet{}
	b.takeLimit(leftOut)
	served := b.within(table.Ports)
	keys := b.frontends.change(nil, served)
	if err := b.read(keys); err != nil {
		return err
	}
	for k := range b.refusing {
		keys[k] = struct{}{}
	}
	maps.DeleteFunc(b.draining, func(k key, _ map[netip.AddrPort]time.Time) bool { return b.held.servers[k] == nil })
	for k, s := range b.held.servers {
		b.findDraining(k, s)
		keys[k] = struct{}{}
	}
	for e := range b.held.contents[setInside] {
		b.aliases.claim(e.key) // until another has it, or nobody
		keys[e.key] = struct{}{}
	}
	for e := range b.held.contents[setHairpin] {
		b.strayPairs[e.client.Addr()] = struct{}{} // but for those that pair finds to be pods
	}
	b.logLacking(ctx)
	if err := b.replaceRules(ctx, table); err != nil {
		return err
	}
	if err := b.kernel.routes.AddRule(); err != nil {
		return err
	}
	pods, _ := b.neighbors.Change(nil, served)
	if err := b.pair(pods, nil); err != nil {
		return err
	}
	if err := b.open(table); err != nil {
		return err
	}
	if err := b.apply(ctx, keys, true); err != nil {
		return err
	}
	if err := b.unpair(slices.Collect(maps.Keys(b.strayPairs))); err != nil {
		return err
	}
	b.lastWishes = nil
	return nil
}

// syncPorts writes what has changed in the given service ports, taking for granted that the kernel holds what was last written.
func (b *Backend) syncPorts(ctx context.Context, table *service.Table, dirty service.PortSet) error {
	b.notices.forget(table, servicesOf(dirty))
	leftOut, changed := b.limit(ctx, table, servicesOf(dirty))
	dirty = joined(dirty, changed)
	was := b.within(ports(b.table, dirty))
	b.takeLimit(leftOut)
	is := b.within(ports(table, dirty))
	pods, others := b.neighbors.Change(was, is)
	if err := b.pair(pods, others); err != nil {
		return err
	}
	if err := b.open(table); err != nil {
		return err
	}
	if err := b.apply(ctx, b.frontends.change(was, is), false); err != nil {
		return err
	}
	return b.unpair(others)
}

// pair lets pods reach themselves, also those of which the kernel has refused that before.
func (b *Backend) pair(pods, others []netip.Addr) error {
	for _, addr := range others {
		delete(b.unpaired, addr)
	}
	for _, addr := range pods {
		delete(b.strayPairs, addr)
	}
	if b.lacking[setHairpin] != nil {
		return nil // logLacking says so
	}
	pods = slices.AppendSeq(pods, maps.Keys(b.unpaired))
	b.unpaired = map[netip.Addr]error{}
	var broken error
	b.fill(setHairpin, pairs(pods), func(e entry, err error) {
		b.unpaired[e.client.Addr()] = err
		if !refusal(err) {
			broken = err
		}
	})
	return broken
}

// unpair is for addresses that are no pods of this node any more. An entry that the kernel does not give up does no harm; the next call tries
// again.
func (b *Backend) unpair(others []netip.Addr) error {
	others = slices.AppendSeq(others, maps.Keys(b.strayPairs))
	b.strayPairs = map[netip.Addr]struct{}{}
	var broken error
	b.empty(setHairpin, pairs(others), func(e entry, err error) {
		b.strayPairs[e.client.Addr()] = struct{}{}
		if !refusal(err) {
			broken = err
		}
	})
	return broken
}

// open lets load balancers in that ask for the node's health.
func (b *Backend) open(table *service.Table) error {
	b.unopened = map[types.NamespacedName]error{}
	if b.lacking[setHealth] != nil {
		return nil // logLacking says so
	}
	refused := map[uint16]error{}
	var broken error
	b.replace(setHealth, healthPorts(table), func(e entry, err error) {
		refused[e.key.address.Port()] = err
		if !refusal(err) {
			broken = err
		}
	})
	for _, check := range table.HealthChecks {
		if err := refused[check.Port]; err != nil {
			b.unopened[check.Service] = err
		}
	}
	return broken
}

// forget drops all that is known of the kernel.
func (b *Backend) forget(table *service.Table) {
	b.frontends = newFrontends(table.NodePorts)
	b.wishes, b.aliases, b.neighbors = map[key]*wish{}, aliases{}, service.Neighbors{}
	b.users, b.withoutAlias = map[netip.Addr]int{}, map[key]struct{}{}
	b.failing, b.unpaired = map[key]*failure{}, map[netip.Addr]error{}
	b.strayRoutes, b.strayPairs = map[netip.Addr]struct{}{}, map[netip.Addr]struct{}{}
	b.held = held{servers: map[key]*heldServer{}, contents: newContents(), routes: map[netip.Addr]struct{}{}}
	clear(b.absent)
	b.declined = map[key]declined{}
	b.round = nil
	b.lacking = [setCount]error{}
}

// read asks the kernel what it holds: what is ours, and what stands where ours should.
func (b *Backend) read(wanted map[key]struct{}) error {
	if err := b.readSets(); err != nil {
		return err
	}
	addresses, err := b.kernel.routes.List()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		b.held.routes[a] = struct{}{}
	}
	all, err := b.kernel.servers.List()
	if err != nil {
		return err
	}
	for _, s := range all {
		if _, is := wanted[s.key]; !is && (!s.ours() || b.excluded(s.key)) {
			delete(b.refusing, s.key) // its clients are somebody else's
			continue
		}
		endpoints, err := b.kernel.servers.ListReal(s.key)
		if err != nil {
			return err
		}
		b.held.servers[s.key] = &heldServer{virtualServer: s, real: weights(endpoints)}
	}
	b.traffic.begin(b.kernel.servers.Statistics())
	return nil
}

// readSets makes the sets that are missing, and reads the others.
func (b *Backend) readSets() error {
	names, err := b.kernel.sets.Names()
	if err != nil {
		return err
	}
	for id := range setCount {
		s := definition(b.options.Family, id)
		if !slices.Contains(names, s.name) {
			if err := b.createSet(id); err != nil {
				return err
			}
			continue
		}
		entries, err := b.kernel.sets.List(s)
		if err != nil {
			return err
		}
		b.held.contents[id] = set(entries)
	}
	return nil
}

// createSet makes a set. Frontends are in sets of one type, without which nothing can be served; one of another type can be missing.
func (b *Backend) createSet(id setID) error {
	s := definition(b.options.Family, id)
	err := b.kernel.sets.Create(s)
	if s.kind == ofFrontends || !errors.Is(err, errNoType) {
		return err
	}
	b.lacking[id], b.lookedForTypes = err, b.kernel.now()
	return nil
}

// typesAreThere reports whether the kernel has got the type of a set that could not be made. It asks once a minute: the kernel looks for the
// module each time.
func (b *Backend) typesAreThere() bool {
	if b.lacking == [setCount]error{} || b.kernel.now().Sub(b.lookedForTypes) < time.Minute {
		return false
	}
	b.lookedForTypes = b.kernel.now()
	for id, err := range b.lacking {
		if err != nil && b.kernel.sets.Create(definition(b.options.Family, setID(id))) == nil {
			return true
		}
	}
	return false
}

// logLacking logs what no Service is told of: pods that cannot reach themselves through a Service, and health checks that the node's own rules
// may drop. What else there is to the Services concerned is served.
func (b *Backend) logLacking(ctx context.Context) {
	for id, effect := range map[setID]string{
		setHairpin: "Pods cannot reach themselves through a Service",
		setHealth:  "Health checks of load balancers are not let in where the policy of INPUT is DROP",
	} {
		if err := b.lacking[id]; err != nil {
			b.once(ctx, effect, "reason", err.Error())
		} else {
			delete(b.said, effect)
		}
	}
}

func set[T comparable](entries []T) map[T]struct{} {
	s := make(map[T]struct{}, len(entries))
	for _, e := range entries {
		s[e] = struct{}{}
	}
	return s
}

func (b *Backend) excluded(k key) bool {
	return slices.ContainsFunc(b.options.Excluded, func(r netip.Prefix) bool { return r.Contains(k.address.Addr()) })
}

// findDraining takes over the real servers that an earlier Fairlead has taken out of service. When it did is not known: their time
// begins anew.
func (b *Backend) findDraining(k key, s *heldServer) {
	until := b.kernel.now().Add(b.options.Drain)
	for address, weight := range s.real {
		if _, known := b.draining[k][address]; !known && weight == 0 {
			b.setDraining(k, address, until)
		}
	}
}

func (b *Backend) setDraining(k key, address netip.AddrPort, until time.Time) {
	if b.draining == nil {
		b.draining = map[key]map[netip.AddrPort]time.Time{}
	}
	if b.draining[k] == nil {
		b.draining[k] = map[netip.AddrPort]time.Time{}
	}
	b.draining[k][address] = until
}

func (b *Backend) setDrained(k key, address netip.AddrPort) {
	delete(b.draining[k], address)
	if len(b.draining[k]) == 0 {
		delete(b.draining, k)
	}
}
