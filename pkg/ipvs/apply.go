package ipvs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// change is what is to be done at some keys.
type change struct {
	keys    []key
	was, is map[key]*wish // nil: nothing is wanted there
	// all: what was is not known, and everything that is not wanted goes.
	all bool
	// failures are the keys at which something could not be written: nothing more is written there.
	failures map[key]error
	// unrefused are the keys at which the kernel takes no entry for refusals: all else is written there.
	unrefused map[key]error
	// unknown are entries at keys that failed, where what was is not known.
	unknown map[key][]entry
	// broken are the errors after which it is not known what the kernel holds.
	broken []error
}

// apply makes the kernel hold at some keys, or all, what the frontends say. Keys at which something failed before are among them. What the
// kernel refuses at a key is noted in b.failing; the error is about everything.
func (b *Backend) apply(ctx context.Context, touched map[key]struct{}, all bool) error {
	maps.Copy(touched, set(slices.Collect(maps.Keys(b.failing))))
	for {
		c := b.write(ctx, touched, all)
		touched, all = b.settle(c), false
		if len(c.broken) > 0 {
			return some(c.broken)
		}
		// An alias that a frontend does not need any more can be another's only now.
		if len(touched) == 0 {
			return nil
		}
	}
}

// write makes one round of changes. At every moment a key is served as before or as wanted: what surrounds a virtual server is there before
// packets are led to it, and it stands as long as they are. Pods get their virtual server before the one for everybody loses endpoints,
// and lose it after that has got them.
func (b *Backend) write(ctx context.Context, touched map[key]struct{}, all bool) *change {
	c := b.plan(ctx, touched)
	c.all = all
	b.addRoutes(c)
	b.fillSets(c, setAdmitted, setRanged, setMasqAll, setMasqOutside)
	b.putServers(ctx, c, func(k key, w *wish) error { return b.putInside(ctx, k, w) })
	b.fillSets(c, setInside, setDrop)
	b.refuse(c)
	b.putServers(ctx, c, func(k key, w *wish) error { return b.putEverybody(ctx, k, w) })
	b.addRoutes(c) // of those that linger
	b.fillSets(c, setVirtual)
	b.emptySets(c)
	b.removeServers(c)
	return c
}

// plan finds out what is wanted.
func (b *Backend) plan(ctx context.Context, touched map[key]struct{}) *change {
	c := &change{was: map[key]*wish{}, is: map[key]*wish{}, failures: map[key]error{}, unrefused: map[key]error{}}
	for k := range touched {
		c.is[k] = b.frontends.at(k)
		if c.is[k] == nil {
			var err error
			if c.is[k], err = b.deleted(k); err != nil {
				c.failed(k, err)
			}
		}
		if at, asked := b.frontends.virtual[k]; asked && isAlias(k) {
			b.tell(ctx, at.port.Name.Service(), "AddressReserved", fmt.Sprintf("%s is not served: IPVS mode uses the addresses of %s itself; give the Service another address", k, aliasRange(b.options.Family)))
		}
	}
	b.assignAliases(ctx, c.is)
	c.keys = slices.SortedFunc(maps.Keys(c.is), compareKeys)
	for _, k := range c.keys {
		c.was[k] = b.wishes[k]
	}
	return c
}

func compareKeys(x, y key) int {
	if x.protocol != y.protocol {
		return int(x.protocol) - int(y.protocol)
	}
	return x.address.Compare(y.address)
}

// addresses are those that a wish needs to be led to.
func (w *wish) addresses(k key) []netip.Addr {
	var list []netip.Addr
	if w == nil {
		return nil
	}
	if w.reached() {
		list = append(list, k.address.Addr())
	}
	if len(w.inside) > 0 {
		list = append(list, alias(k).address.Addr())
	}
	return list
}

func (b *Backend) addRoutes(c *change) {
	concerned := map[netip.Addr][]key{}
	for _, k := range c.keys {
		if c.keeps(k) {
			continue
		}
		for _, addr := range c.is[k].addresses(k) {
			if _, held := b.held.routes[addr]; !held {
				concerned[addr] = append(concerned[addr], k)
			}
		}
	}
	routes := writer[netip.Addr]{write: b.kernel.routes.Add, done: func(addr netip.Addr, err error) {
		if err == nil {
			b.held.routes[addr] = struct{}{}
			return
		}
		for _, k := range concerned[addr] {
			c.failed(k, err)
		}
	}}
	routes.all(slices.SortedFunc(maps.Keys(concerned), netip.Addr.Compare))
}

// removeRoutes removes those that no virtual server needs any more. One that stays behind leads no packets, as none are marked for it: it is
// no failure of a service port.
func (b *Backend) removeRoutes(c *change) {
	candidates := b.strayRoutes
	b.strayRoutes = map[netip.Addr]struct{}{}
	for _, k := range c.keys {
		candidates[k.address.Addr()], candidates[alias(k).address.Addr()] = struct{}{}, struct{}{}
	}
	if c.all {
		maps.Copy(candidates, b.held.routes)
	}
	var unneeded []netip.Addr
	for addr := range candidates {
		if _, held := b.held.routes[addr]; held && b.users[addr] == 0 {
			unneeded = append(unneeded, addr)
		}
	}
	slices.SortFunc(unneeded, netip.Addr.Compare)
	routes := writer[netip.Addr]{write: b.kernel.routes.Delete, done: func(addr netip.Addr, err error) {
		switch {
		case err == nil:
			delete(b.held.routes, addr)
		case refusal(err):
			b.strayRoutes[addr] = struct{}{}
		default:
			c.broken = append(c.broken, err)
		}
	}}
	routes.all(unneeded)
}

func (b *Backend) fillSets(c *change, ids ...setID) {
	for _, id := range ids {
		b.fill(id, c.wanted(id), func(e entry, err error) { c.failed(e.key, err) })
	}
}

// refuse fills the set of frontends that refuse new connections. Where the kernel does not take an entry, endpoints that are gone are taken out
// of service all the same, or a full set would keep packets going to them. A deleted frontend needs no entry to go.
func (b *Backend) refuse(c *change) {
	b.fill(setReject, c.wanted(setReject), func(e entry, err error) {
		switch {
		case !refusal(err):
			c.failed(e.key, err)
		case !c.is[e.key].deleted:
			c.unrefused[e.key] = fmt.Errorf("%s: %w", e.key, err)
		}
	})
}

// wanted are the entries that a set shall have for the keys.
func (c *change) wanted(id setID) []entry {
	var list []entry
	for _, k := range c.keys {
		if !c.keeps(k) {
			list = append(list, c.is[k].entries(k, id)...)
		}
	}
	return list
}

func (b *Backend) emptySets(c *change) {
	for _, id := range emptied {
		gone := b.gone(c, id)
		if c.all {
			gone = b.unwanted(c, id)
		}
		b.empty(id, gone, func(e entry, err error) {
			if _, known := c.is[e.key]; !known {
				c.is[e.key] = nil
				c.keys = append(c.keys, e.key) // to try it again
			}
			c.failed(e.key, err)
		})
	}
}

// gone are the entries that a set may have for the keys and is not to have.
func (b *Backend) gone(c *change, id setID) []entry {
	var list []entry
	for _, k := range c.keys {
		if c.keeps(k) {
			continue
		}
		is := set(c.is[k].entries(k, id))
		for _, e := range b.present(c, k, id) {
			if _, wanted := is[e]; !wanted {
				list = append(list, e)
			}
		}
	}
	return list
}

// unwanted are the entries that a set has and no key wants.
func (b *Backend) unwanted(c *change, id setID) []entry {
	wanted := map[entry]struct{}{}
	for _, k := range c.keys {
		for _, e := range c.is[k].entries(k, id) {
			wanted[e] = struct{}{}
		}
	}
	return slices.DeleteFunc(b.surplus(id, wanted), func(e entry) bool { return c.keeps(e.key) })
}

// putServers makes and changes virtual servers and their real servers. Where that fails, packets are not led there.
func (b *Backend) putServers(ctx context.Context, c *change, put func(key, *wish) error) {
	for _, k := range c.keys {
		if ctx.Err() != nil {
			c.failed(k, ctx.Err())
			continue
		}
		if c.is[k] == nil || c.keeps(k) {
			continue
		}
		if err := put(k, c.is[k]); err != nil {
			c.failed(k, err)
		}
	}
}

func (b *Backend) putInside(ctx context.Context, k key, w *wish) error {
	if len(w.inside) == 0 {
		return nil
	}
	// Nothing drains there: a connection does not need IPVS after its first packet.
	return b.putReal(ctx, alias(k), w, w.inside, false)
}

func (b *Backend) putEverybody(ctx context.Context, k key, w *wish) error {
	// Somebody else's is taken over when there are endpoints, and left alone before.
	if h := b.held.servers[k]; len(w.everybody) > 0 || h != nil && h.ours() {
		if err := b.putReal(ctx, k, w, w.everybody, true); err != nil {
			return err
		}
		if err := b.retire(k, w.port); err != nil {
			return err
		}
	}
	h := b.held.servers[k]
	w.lingers = len(w.everybody) == 0 && h != nil && h.ours() && len(h.real) > 0
	return nil
}

// removeServers removes the virtual servers that nobody wants.
func (b *Backend) removeServers(c *change) {
	for _, k := range c.keys {
		at := alias(k)
		switch {
		case c.keeps(k):
			continue
		case !b.wantedAt(c, k):
			if err := b.removeServer(k); err != nil {
				c.failed(k, err)
				continue
			}
		}
		if b.aliases[at] == k && !b.wantedAt(c, at) {
			if err := b.removeServer(at); err != nil {
				c.failed(k, err)
			}
		}
	}
}

// wantedAt reports whether a virtual server shall be at a key: a frontend's, or the alias of one.
func (b *Backend) wantedAt(c *change, k key) bool {
	owner, owned := b.aliases[k]
	if !owned {
		return c.is[k] != nil && c.is[k].reached()
	}
	if _, changed := c.is[owner]; !changed {
		return b.wishes[owner] != nil
	}
	return c.keeps(owner) || c.is[owner] != nil && len(c.is[owner].inside) > 0
}

// removeServer deletes a virtual server of ours. Somebody else's, which could not be taken over, is as if it had never been known.
func (b *Backend) removeServer(k key) error {
	h := b.held.servers[k]
	if h == nil || b.excluded(k) {
		return nil
	}
	if h.ours() {
		if err := b.kernel.servers.Delete(k); err != nil && !errors.Is(err, errNotFound) {
			return err
		}
	}
	delete(b.held.servers, k)
	delete(b.draining, k)
	delete(b.declined, k)
	b.traffic.forget(k)
	return nil
}

// settle takes over what has come true, removes the routes that are not needed any more, and returns the keys that wait for an alias that has
// become free.
func (b *Backend) settle(c *change) map[key]struct{} {
	b.findUnknown(c)
	waiting := map[key]struct{}{}
	for _, k := range c.keys {
		if c.keeps(k) {
			b.settleAt(k, cmp.Or(c.was[k], b.lastWishes[k]), b.failureAt(c, k))
			continue
		}
		is := c.is[k]
		b.settleDeleted(k, is)
		if _, refused := b.refusing[k]; is != nil && is.deleted && !is.lingers && !refused {
			is = nil
		}
		var f *failure
		if err := c.unrefused[k]; err != nil {
			f = b.failureAt(c, k)
			f.err, f.besides = err, true
		}
		b.settleAt(k, is, f)
		b.releaseAlias(k, is, waiting)
	}
	b.removeRoutes(c)
	return waiting
}
