package ipvs

import (
	"context"

	"github.com/fairlead/fairlead/pkg/xtables"
)

// Drain counts the connections that need IPVS still: those to our virtual servers, but for those that are over. It changes nothing, and
// needs no Sync before. A mode that serves in place of this one gives new connections their endpoint in the nat table, before
// IPVS sees them, so nothing has to keep them away; and as long as it is synced, this one goes on to know what standing ones need.
//
// Those to an alias do not count: connection tracking has carried them from their second packet on.
func (b *Backend) Drain(context.Context) (left int, err error) {
	if !b.kernel.present() {
		return 0, nil
	}
	list, err := b.kernel.servers.List()
	if err != nil {
		return 0, err
	}
	ours := map[key]struct{}{}
	for _, s := range list {
		if s.ours() && !b.excluded(s.key) && !isAlias(s.key) {
			ours[s.key] = struct{}{}
		}
	}
	if len(ours) == 0 {
		return 0, nil
	}
	udpTimeout, err := b.kernel.servers.UDPTimeout()
	if err != nil {
		return 0, err
	}
	err = b.kernel.connections.Each(func(c connection) {
		if _, is := ours[c.key]; is && c.stands(udpTimeout) {
			left++
		}
	})
	return left, err
}

// newcomers are the ways into the chains that decide about new connections. They go before anything else does: without what leads packets to
// an alias, nothing may send them to one.
var newcomers = []xtables.Jump{
	{Table: "nat", From: "PREROUTING", To: chainPrerouting},
	{Table: "nat", From: "OUTPUT", To: chainOutput},
}
