package conntrack

import (
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// flow is one entry of the kernel's connection tracking, as far as it matters here.
type flow struct {
	protocol service.Protocol
	// to is where the client sends to: the original destination.
	to netip.AddrPort
	// from is who answers: the source of replies. Where nothing has been translated it is the same as to.
	from netip.AddrPort
	// opening: the first packet of a connection has been seen, and no reply. Such an entry can be given up without harm, as
	// the client comes again with the same packet.
	opening bool
	// identity is what the kernel finds this entry by, and no later one between the same ends.
	identity []byte
}

// translated reports whether the destination was changed, by whatever rules.
func (f flow) translated() bool { return f.from != f.to }
