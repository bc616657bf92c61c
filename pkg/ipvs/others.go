package ipvs

import (
	"errors"
	"net/netip"
	"time"

	moby "github.com/moby/ipvs"

	"github.com/fairlead/fairlead/pkg/service"
)

// Other is a virtual server that is not Fairlead's.
type Other struct {
	Protocol service.Protocol
	Address  netip.AddrPort
	// Connections is how many the kernel holds, open or closing.
	Connections int
	// Serving says that it takes new connections.
	Serving bool
}

// Others are the virtual servers of one family that are not Fairlead's: for whoever takes over from another program. It is for one
// goroutine at a time.
type Others struct{ servers otherServers }

// otherServers are the virtual servers of a family, of which one can be read alone.
type otherServers interface {
	servers
	// Get fails with errNotFound.
	Get(k key) (virtualServer, error)
}

// NewOthers touches nothing before its first use.
func NewOthers(family service.Family) *Others { return &Others{newServers(family)} }

// Present reports whether the kernel has IPVS. It does not have it loaded.
func (*Others) Present() bool {
	there, err := probed()
	return there && err == nil
}

// List has those that match.
func (o *Others) List(match func(service.Protocol, netip.AddrPort) bool) ([]Other, error) {
	all, err := o.servers.List()
	if err != nil {
		return nil, err
	}
	var list []Other
	for _, s := range all {
		if s.ours() || !match(s.protocol, s.address) {
			continue
		}
		other := Other{Protocol: s.protocol, Address: s.address}
		endpoints, err := o.servers.ListReal(s.key)
		if err != nil {
			return nil, err
		}
		for _, r := range endpoints {
			other.Connections += r.connections
			other.Serving = other.Serving || r.weight > 0
		}
		list = append(list, other)
	}
	return list, nil
}

// Quiesce takes all endpoints out of service: connections that stand go on. A virtual server that has become Fairlead's since it was
// listed stays as it is.
func (o *Others) Quiesce(other Other) error {
	k := key{other.Protocol, other.Address}
	if is, err := o.still(k); err != nil || !is {
		return err
	}
	endpoints, err := o.servers.ListReal(k)
	if err != nil {
		return err
	}
	var failures []error
	for _, r := range endpoints {
		if r.weight == 0 {
			continue
		}
		r.weight = 0
		if err := o.servers.UpdateReal(k, r); err != nil && !errors.Is(err, errNotFound) {
			failures = append(failures, err)
		}
	}
	return some(failures)
}

// Delete removes one, unless it has become Fairlead's since it was listed.
func (o *Others) Delete(other Other) error {
	k := key{other.Protocol, other.Address}
	if is, err := o.still(k); err != nil || !is {
		return err
	}
	if err := o.servers.Delete(k); err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	return nil
}

// still reports whether a virtual server is there and not Fairlead's. A list of thousands is seconds old when the last one's turn comes, and
// a Service may have got its address meanwhile.
func (o *Others) still(k key) (bool, error) {
	s, err := o.servers.Get(k)
	if errors.Is(err, errNotFound) {
		return false, nil
	}
	return err == nil && !s.ours(), err
}

// Get implements otherServers.
func (k *kernelServers) Get(at key) (virtualServer, error) {
	var found *moby.Service
	err := k.do(func(h *moby.Handle) (err error) { found, err = h.GetService(k.bare(at)); return err })
	if err != nil {
		return virtualServer{}, serverError("read", virtualServer{key: at}, err)
	}
	return virtualServer{key: at, scheduler: found.SchedName, flags: found.Flags &^ flagHashed, timeout: time.Duration(found.Timeout) * time.Second}, nil
}
