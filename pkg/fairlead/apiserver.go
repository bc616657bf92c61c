package fairlead

import (
	"net/netip"
	"strconv"

	"k8s.io/client-go/rest"

	"github.com/fairlead/fairlead/pkg/config"
)

// apiServer returns the address by which the API server is reached. It is invalid if that is a name, or if there is no API server.
func apiServer(c *config.Config) netip.AddrPort {
	if c.Manifests != "" {
		return netip.AddrPort{}
	}
	r, err := newREST(c)
	if err != nil {
		return netip.AddrPort{} // newSource returns the error
	}
	return addressOf(r)
}

func addressOf(r *rest.Config) netip.AddrPort {
	u, _, err := rest.DefaultServerUrlFor(r)
	if err != nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return netip.AddrPort{}
	}
	port := uint64(443)
	if u.Scheme == "http" {
		port = 80
	}
	if u.Port() != "" {
		if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return netip.AddrPort{}
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}
