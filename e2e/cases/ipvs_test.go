package cases

import (
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// inIPVS is a question as IPVS mode has to answer it. It differs in three things, all of which are the kernel's, and are the same in
// kube-proxy's IPVS mode.
//
//   - Node ports do not answer on localhost, and a packet to one passes: IPVS does not send on what comes from a loopback address
//     (crosses_local_route_boundary in ip_vs_xmit.c), and nothing that could rewrite the source comes before it.
//   - Session affinity is that of a virtual server, so a client that comes by another way than before may get another endpoint.
//   - It holds as long as the kernel remembers the client's connections, and a minute longer, if that is more than its timeout
//     (ip_vs_conn_expire in ip_vs_conn.c): whether all have forgotten cannot be waited for.
func (c Case) inIPVS(step int, p Probe) Probe {
	if p.Client == "node" && p.To == "localhost" && p.Want.Action == service.Forward {
		p.Want = Answer{Action: service.Pass}
	}
	if p.Want.Stays && !c.askedBefore(step, p.Question) {
		p.Want.With = netip.AddrPort{}
	}
	p.Any = c.Steps[step].Pause > 0
	return p
}

// askedBefore reports whether a client has come by the same way in an earlier step.
func (c Case) askedBefore(step int, q Question) bool {
	for _, s := range c.Steps[:step] {
		for _, asked := range s.Ask {
			if asked.Packet == q.Packet {
				return true
			}
		}
	}
	return false
}
