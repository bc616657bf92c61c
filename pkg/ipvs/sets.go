package ipvs

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/pkg/service"
)

// setID names one of our sets, of which each IP family has its own.
type setID int

// The sets. A frontend is in those that say what is done with packets for it; static.go has the rules that ask them.
const (
	setVirtual     setID = iota // frontends that a virtual server answers for
	setInside                   // frontends where pods and the node itself have another virtual server than everybody else
	setMasqAll                  // frontends whose clients are all masqueraded
	setMasqOutside              // frontends whose clients are masqueraded unless they are pods
	setRanged                   // frontends that admit certain clients only
	setAdmitted                 // frontends with a range of clients that they admit
	setReject                   // frontends that refuse new connections
	setDrop                     // frontends that drop new connections
	setHairpin                  // pods of this node, which may reach themselves
	setHealth                   // ports on which load balancers ask for the node's health
	setCount
)

// definitions has the name and kind of each set, by setID.
var definitions = [setCount]ipset{
	setVirtual:     {"VIRTUAL", ofFrontends},
	setInside:      {"INSIDE", ofFrontends},
	setMasqAll:     {"MASQ-ALL", ofFrontends},
	setMasqOutside: {"MASQ-OUTSIDE", ofFrontends},
	setRanged:      {"RANGED", ofFrontends},
	setAdmitted:    {"ADMITTED", ofClients},
	setReject:      {"REJECT", ofFrontends},
	setDrop:        {"DROP", ofFrontends},
	setHairpin:     {"HAIRPIN", ofPairs},
	setHealth:      {"HEALTH", ofPorts},
}

// setPrefix begins the names of all sets of a family, and hopefully of nobody else's: what bears it may be destroyed.
func setPrefix(f service.Family) string {
	if f == service.IPv6 {
		return "FLV6-"
	}
	return "FLV4-"
}

func definition(f service.Family, id setID) ipset {
	s := definitions[id]
	s.name = setPrefix(f) + s.name
	return s
}

// contents is what all sets hold.
type contents [setCount]map[entry]struct{}

func newContents() contents {
	var c contents
	for id := range c {
		c[id] = map[entry]struct{}{}
	}
	return c
}

// emptied is the order in which entries go: first what leads to the virtual server for everybody, then what refuses somebody who is served by
// now, then what is asked before and around.
var emptied = []setID{setVirtual, setReject, setDrop, setInside, setRanged, setAdmitted, setMasqAll, setMasqOutside}

// fill adds what is missing in a set, and tells of each entry that it could not add.
func (b *Backend) fill(id setID, wanted []entry, failed func(entry, error)) {
	held := b.held.contents[id]
	var missing []entry
	for _, e := range wanted {
		if _, there := held[e]; !there {
			missing = append(missing, e)
		}
	}
	b.change(missing, b.kernel.sets.Add, id, func(e entry, err error) {
		if err != nil {
			failed(e, err)
			return
		}
		held[e] = struct{}{}
	})
}

// empty takes entries out of a set, and tells of each that it could not take out.
func (b *Backend) empty(id setID, unwanted []entry, failed func(entry, error)) {
	held := b.held.contents[id]
	var there []entry
	for _, e := range unwanted {
		if _, is := held[e]; is {
			there = append(there, e)
		}
	}
	b.change(there, b.kernel.sets.Delete, id, func(e entry, err error) {
		if err != nil {
			failed(e, err)
			return
		}
		delete(held, e)
	})
}

// change writes entries, as many at once as one message to the kernel takes.
func (b *Backend) change(entries []entry, write func(ipset, ...entry) error, id setID, done func(entry, error)) {
	s := definition(b.options.Family, id)
	w := writer[entry]{write: func(list ...entry) error { return write(s, list...) }, done: done, stop: b.lacking[id]}
	for part := range slices.Chunk(entries, batch) {
		w.all(part)
	}
}

// replace makes a set hold just what is wanted, additions first.
func (b *Backend) replace(id setID, wanted map[entry]struct{}, failed func(entry, error)) {
	b.fill(id, slices.Collect(maps.Keys(wanted)), failed)
	b.empty(id, b.surplus(id, wanted), func(e entry, err error) {
		if !refusal(err) {
			failed(e, err)
		}
	})
}

// surplus are the entries that a set has beyond what is wanted.
func (b *Backend) surplus(id setID, wanted map[entry]struct{}) []entry {
	var list []entry
	for e := range b.held.contents[id] {
		if _, is := wanted[e]; !is {
			list = append(list, e)
		}
	}
	return list
}

// pairs are the entries that tell packets of pods to themselves. A pod reaches itself through a Service only.
func pairs(pods []netip.Addr) []entry {
	list := make([]entry, len(pods))
	for i, addr := range pods {
		list[i] = entry{client: netip.PrefixFrom(addr, addr.BitLen())}
	}
	return list
}

// healthPorts are the entries of the set of ports on which load balancers ask.
func healthPorts(t *service.Table) map[entry]struct{} {
	list := map[entry]struct{}{}
	for _, c := range t.HealthChecks {
		list[entry{key: key{service.TCP, netip.AddrPortFrom(netip.Addr{}, c.Port)}}] = struct{}{}
	}
	return list
}
