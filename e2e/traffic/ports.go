package traffic

import (
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// Source ports. No question has one that another had shortly before: a Service's ways in lead to the same few endpoints, and IPVS and
// connection tracking tell connections by both ends alone. Those that stand have ports above the kernel's own (to 60999).
const (
	firstPort, lastPort = lab.FirstClientPort, lab.LastClientPort
	firstFixed          = 61000
	// rest is how long a port is left alone: connection tracking remembers one that has ended for two minutes.
	rest = 2 * time.Minute
)

// user is who has source ports of its own.
type user struct {
	host    *lab.Host
	network string
}

// ports gives out source ports.
type ports struct {
	mu    sync.Mutex
	users map[user]*usedPorts
}

// lasts has where the traffic before has got to, by the host's name and the network: what starts within two minutes goes on from there.
var lasts = struct {
	sync.Mutex
	fixed, next map[string]uint16
}{fixed: map[string]uint16{}, next: map[string]uint16{}}

func (u user) String() string { return u.host.Name + "/" + u.network }

// begin is for a user that has not had a port in this traffic.
func (u user) begin() *usedPorts {
	lasts.Lock()
	defer lasts.Unlock()
	return &usedPorts{fixed: max(firstFixed, lasts.fixed[u.String()]), next: max(firstPort, lasts.next[u.String()]), used: map[uint16]time.Time{}}
}

// note keeps how far a user has got.
func (u user) note(p *usedPorts) {
	lasts.Lock()
	defer lasts.Unlock()
	lasts.fixed[u.String()], lasts.next[u.String()] = p.fixed, p.next
}

type usedPorts struct {
	fixed uint16
	next  uint16
	used  map[uint16]time.Time
}

func (p *ports) of(u user) *usedPorts {
	if p.users == nil {
		p.users = map[user]*usedPorts{}
	}
	if p.users[u] == nil {
		p.users[u] = u.begin()
	}
	return p.users[u]
}

// next is for a question. There is none where all have been used lately.
func (p *ports) next(target Target, network string) (netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := user{target.From, network}
	u := p.of(who)
	port := u.next
	if time.Since(u.used[port]) < rest {
		return netip.AddrPort{}, false
	}
	u.used[port] = time.Now()
	if u.next++; u.next > lastPort {
		u.next = firstPort
	}
	who.note(u)
	return wildcard(target, port), true
}

// fixed is for a connection or flow that stands.
func (p *ports) fixed(target Target, network string) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := user{target.From, network}
	u := p.of(who)
	port := u.fixed
	if u.fixed++; u.fixed == 0 {
		u.fixed = firstFixed
	}
	who.note(u)
	return wildcard(target, port)
}

// wildcard leaves the address to the kernel.
func wildcard(target Target, port uint16) netip.AddrPort {
	if target.To.Addr().Is4() {
		return lab.Wildcard(lab.IPv4, port)
	}
	return lab.Wildcard(lab.IPv6, port)
}
