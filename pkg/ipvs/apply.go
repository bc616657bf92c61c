package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/klog/v2"
)

// change is what is to be done at some keys.
type change struct {
	keys    []key
	was, is map[key]*wish // nil: nothing is wanted there
	// all: what was is not known, and everything that is not wanted goes.
	all  bool
	errs []error
	// kept are keys at which something could not be written: they stay as they are.
	kept map[key]struct{}
}

// apply makes the kernel hold at some keys, or all, what the frontends say. At every moment a key is served as before or as wanted: what
// surrounds a virtual server is there before packets are led to it, and it stands as long as they are. Pods get their virtual server
// before the one for everybody loses endpoints, and lose it after that has got them.
func (b *Backend) apply(ctx context.Context, touched map[key]struct{}, all bool) error {
	c := b.plan(ctx, touched)
	c.all = all
	b.addRoutes(c)
	b.fillSets(c, setAdmitted, setRanged, setMasqAll, setMasqOutside)
	b.putServers(ctx, c, func(k key, w *wish) error { return b.putInside(ctx, k, w) })
	b.fillSets(c, setInside, setReject, setDrop)
	b.putServers(ctx, c, func(k key, w *wish) error { return b.putEverybody(ctx, k, w) })
	b.addRoutes(c) // of those that linger
	b.fillSets(c, setVirtual)
	b.emptySets(c)
	b.removeServers(c)
	b.settle(c)
	b.removeRoutes(c)
	return some(c.errs)
}

// plan finds out what is wanted.
func (b *Backend) plan(ctx context.Context, touched map[key]struct{}) *change {
	if b.releaseAliases(touched) {
		maps.Copy(touched, b.withoutAlias)
	}
	c := &change{keys: slices.SortedFunc(maps.Keys(touched), compareKeys), was: map[key]*wish{}, is: map[key]*wish{}, kept: map[key]struct{}{}}
	for _, k := range c.keys {
		c.was[k], c.is[k] = b.wishes[k], b.frontends.at(k)
		if is := c.is[k]; is != nil {
			b.claimAlias(ctx, k, is)
		}
		if _, asked := b.frontends.virtual[k]; asked && isAlias(k) {
			b.once(ctx, fmt.Sprintf("Nobody is served at %s, as it is in the range that is for aliases; give the Service another address", k), "range", aliasRange(b.options.Family))
		}
	}
	return c
}

// releaseAliases gives up the aliases that some keys do not need any more, and reports whether there were any.
func (b *Backend) releaseAliases(keys map[key]struct{}) bool {
	released := false
	for k := range keys {
		if is := b.frontends.at(k); is == nil || len(is.inside) == 0 {
			released = b.aliases.release(k) || released
			delete(b.withoutAlias, k)
		}
	}
	return released
}

// claimAlias gives a frontend that needs one its alias. Where another has it, pods are treated as everybody else until that one goes.
func (b *Backend) claimAlias(ctx context.Context, k key, w *wish) {
	if len(w.inside) == 0 {
		return
	}
	if b.aliases.claim(k) {
		delete(b.withoutAlias, k)
		return
	}
	b.once(ctx, fmt.Sprintf("Pods reach %s as everybody else does: its alias %s is another address's", k, alias(k)))
	b.withoutAlias[k] = struct{}{}
	w.inside = nil
}

func compareKeys(x, y key) int {
	if x.protocol != y.protocol {
		return int(x.protocol) - int(y.protocol)
	}
	return x.address.Compare(y.address)
}

// failed notes an error at a key, which is left as it is: the others go on.
func (c *change) failed(k key, err error) {
	c.errs = append(c.errs, fmt.Errorf("%s: %w", k, err))
	c.is[k] = c.was[k]
	c.kept[k] = struct{}{}
}

// keeps reports whether a virtual server, a frontend's or its alias, or an entry is left as it is.
func (c *change) keeps(k key) bool {
	_, is := c.kept[k]
	return is
}

// addresses are those at which some wishes have virtual servers.
func (c *change) addresses(wishes map[key]*wish) []netip.Addr {
	var list []netip.Addr
	for _, k := range c.keys {
		list = append(list, wishes[k].addresses(k)...)
	}
	return list
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
	var missing []netip.Addr
	var concerned []key
	for _, k := range c.keys {
		for _, addr := range c.is[k].addresses(k) {
			if _, is := b.held.routes[addr]; !is {
				missing, concerned = append(missing, addr), append(concerned, k)
			}
		}
	}
	if err := b.kernel.routes.Add(missing...); err != nil {
		for _, k := range concerned {
			c.failed(k, err)
		}
		return
	}
	for _, addr := range missing {
		b.held.routes[addr] = struct{}{}
	}
}

// removeRoutes removes those that no virtual server needs any more. After a failure that is not known; the next Sync reads the kernel.
func (b *Backend) removeRoutes(c *change) {
	if len(c.errs) > 0 {
		return
	}
	candidates := c.addresses(c.was)
	if c.all {
		candidates = slices.Collect(maps.Keys(b.held.routes))
	}
	var unneeded []netip.Addr
	for _, addr := range candidates {
		if _, is := b.held.routes[addr]; is && b.users[addr] == 0 {
			unneeded = append(unneeded, addr)
			delete(b.held.routes, addr)
		}
	}
	if err := b.kernel.routes.Delete(unneeded...); err != nil {
		c.errs = append(c.errs, err)
	}
}

func (b *Backend) fillSets(c *change, ids ...setID) {
	for _, id := range ids {
		var wanted []entry
		for _, k := range c.keys {
			wanted = append(wanted, c.is[k].entries(k, id)...)
		}
		if missing, err := b.fill(id, wanted); err != nil {
			c.failedEntries(missing, err)
		}
	}
}

func (b *Backend) emptySets(c *change) {
	for _, id := range emptied {
		gone := c.gone(id)
		if c.all {
			gone = b.unwanted(c, id)
		}
		if there, err := b.empty(id, gone); err != nil {
			c.failedEntries(there, err)
		}
	}
}

func (c *change) failedEntries(list []entry, err error) {
	for _, e := range list {
		c.failed(e.key, err)
	}
}

// gone are the entries that a set had for the keys and is not to have any more.
func (c *change) gone(id setID) []entry {
	var list []entry
	for _, k := range c.keys {
		is := c.is[k].entries(k, id)
		for _, e := range c.was[k].entries(k, id) {
			if !slices.Contains(is, e) {
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
	if len(w.everybody) > 0 || b.held.servers[k] != nil {
		if err := b.putReal(ctx, k, w, w.everybody, true); err != nil {
			return err
		}
		if err := b.retire(k, w.port); err != nil {
			return err
		}
	}
	w.lingers = len(w.everybody) == 0 && b.held.servers[k] != nil && len(b.held.servers[k].real) > 0
	return nil
}

// removeServers removes the virtual servers that nobody wants.
func (b *Backend) removeServers(c *change) {
	kept := map[key]struct{}{}
	for k := range c.kept {
		kept[k], kept[alias(k)] = struct{}{}, struct{}{}
	}
	for _, k := range c.keys {
		w := c.is[k]
		if _, stays := kept[k]; stays {
			continue
		}
		if !b.wantedAt(k, w) {
			if err := b.removeServer(k); err != nil {
				c.failed(k, err)
			}
		}
		if at := alias(k); c.was[k] != nil && len(c.was[k].inside) > 0 && !b.wantedAt(at, b.wishes[at]) && (w == nil || len(w.inside) == 0) {
			if err := b.removeServer(at); err != nil {
				c.failed(k, err)
			}
		}
	}
}

// wantedAt reports whether a virtual server shall be at a key: a frontend's, or the alias of another's.
func (b *Backend) wantedAt(k key, w *wish) bool {
	if w != nil {
		return w.reached()
	}
	_, isAlias := b.aliases[k]
	return isAlias
}

func (b *Backend) removeServer(k key) error {
	if b.held.servers[k] == nil || b.excluded(k) {
		return nil
	}
	if err := b.kernel.servers.Delete(k); err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	delete(b.held.servers, k)
	delete(b.draining, k)
	b.traffic.forget(k)
	return nil
}

// settle takes the wishes over, now that they have come true.
func (b *Backend) settle(c *change) {
	for _, k := range c.keys {
		for _, addr := range c.was[k].addresses(k) {
			if b.users[addr]--; b.users[addr] == 0 {
				delete(b.users, addr)
			}
		}
		for _, addr := range c.is[k].addresses(k) {
			b.users[addr]++
		}
		if c.is[k] == nil {
			if was := c.was[k]; was != nil {
				delete(b.told, was.port.Name.Service())
			}
			delete(b.wishes, k)
			continue
		}
		b.wishes[k] = c.is[k]
	}
}

// tell says to the owner of a Service what is wrong, once as long as there is the Service.
func (b *Backend) tell(ctx context.Context, w *wish, reason, message string) {
	name := w.port.Name.Service()
	if _, told := b.told[name][message]; told {
		return
	}
	if b.told[name] == nil {
		b.told[name] = map[string]struct{}{}
	}
	b.told[name][message] = struct{}{}
	klog.FromContext(ctx).Info("Cannot serve a Service as it asks", "service", name, "problem", message)
	if b.options.Events != nil {
		b.options.Events(name, reason, message)
	}
}
