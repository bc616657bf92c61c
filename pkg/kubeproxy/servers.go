package kubeproxy

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/pkg/ipvs"
	"github.com/fairlead/fairlead/pkg/service"
)

// balancer is what IPVS mode has left in one family, beside its rules.
type balancer struct {
	family service.Family
	others *ipvs.Others
	// virtual are the virtual IPs: addresses of kube-ipvs0, or with a route in their place.
	virtual map[netip.Addr]bool
	// own are all addresses of the node: a node port has its virtual servers there.
	own   map[netip.Addr]bool
	ports map[service.Protocol]map[uint16]bool
	// excluded are ranges of addresses whose virtual servers are left alone.
	excluded []netip.Prefix
	served   Served
}

// readBalancer finds what there is. It returns nil where a kube-proxy's IPVS mode has left nothing.
func readBalancer(family service.Family, excluded []netip.Prefix, served Served) (*balancer, error) {
	link, err := device()
	if err != nil {
		return nil, err
	}
	here, err := addresses(link, family)
	if err != nil {
		return nil, err
	}
	moved, err := standIns(family)
	if err != nil {
		return nil, err
	}
	ports, err := nodePorts(family)
	if err != nil {
		return nil, err
	}
	b := &balancer{family: family, others: ipvs.NewOthers(family), virtual: union(here, moved), ports: ports, excluded: excluded, served: served}
	stands, err := deviceStands(link, family, here)
	if err != nil {
		return nil, err
	}
	// A route for an address in an excluded range may be there for good.
	if !stands && !slices.ContainsFunc(moved, b.removable) && len(ports[service.TCP])+len(ports[service.UDP])+len(ports[service.SCTP]) == 0 {
		return nil, nil
	}
	own, err := ownAddresses(family)
	if err != nil {
		return nil, err
	}
	b.own = union(own)
	return b, nil
}

// deviceStands reports whether the device is there, and not for the other family's addresses alone, which has a TakeOver of its own.
func deviceStands(link netlink.Link, family service.Family, here []netip.Addr) (bool, error) {
	if link == nil || len(here) > 0 {
		return link != nil, nil
	}
	other := service.IPv4
	if family == service.IPv4 {
		other = service.IPv6
	}
	left, err := addresses(link, other)
	return len(left) == 0, err
}

func union(lists ...[]netip.Addr) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, list := range lists {
		for _, a := range list {
			all[a] = true
		}
	}
	return all
}

// removable reports whether virtual servers at an address may be.
func (b *balancer) removable(a netip.Addr) bool {
	return !slices.ContainsFunc(b.excluded, func(r netip.Prefix) bool { return r.Contains(a) })
}

// owns reports whether a virtual server is kube-proxy's, and to be removed: at one of its virtual IPs, or at one of its node ports on an
// address of the node's. Other programs have virtual servers too, and maybe at the same port (keepalived, the director of LVS).
func (b *balancer) owns(protocol service.Protocol, at netip.AddrPort) bool {
	if b.served != nil && b.served(protocol, at) {
		return false
	}
	return b.removable(at.Addr()) && (b.virtual[at.Addr()] || b.own[at.Addr()] && b.ports[protocol][at.Port()])
}

// stays reports whether a virtual server is left alone that needs one of the virtual IPs.
func (b *balancer) stays(_ service.Protocol, at netip.AddrPort) bool {
	return b.virtual[at.Addr()] && !b.removable(at.Addr())
}

// servers lists those to be removed, and the virtual IPs that others need for good.
func (b *balancer) servers() (list []ipvs.Other, needed map[netip.Addr]bool, err error) {
	needed = map[netip.Addr]bool{}
	if !b.others.Present() {
		return nil, needed, nil
	}
	if list, err = b.others.List(b.owns); err != nil {
		return nil, nil, err
	}
	others, err := b.others.List(b.stays)
	for _, s := range others {
		needed[s.Address.Addr()] = true
	}
	return list, needed, err
}

// drain takes kube-proxy's virtual servers out of service, and removes those without connections, with their addresses. It returns how
// many connections are left.
func (b *balancer) drain() (left int, err error) {
	link, err := device()
	if err != nil {
		return 0, err
	}
	if err := replaceDevice(link, b.family); err != nil {
		return 0, err
	}
	list, busy, err := b.servers()
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, s := range list {
		switch {
		case !b.owns(s.Protocol, s.Address): // Fairlead has it by now, though its mark may have been taken off again
		case s.Serving:
			failed = append(failed, b.others.Quiesce(s))
			left, busy[s.Address.Addr()] = left+1, true // counted anew the next time, as one may have come meanwhile
		case s.Connections > 0:
			left, busy[s.Address.Addr()] = left+s.Connections, true
		default:
			failed = append(failed, b.others.Delete(s))
		}
	}
	away, err := b.release(busy)
	return left + away, errors.Join(append(failed, err)...)
}

// release gives up the virtual IPs whose virtual servers are gone, unless the node has connections that come from there: kube-proxy makes
// it connect to a virtual IP from that same address.
func (b *balancer) release(busy map[netip.Addr]bool) (kept int, err error) {
	from, err := ipvs.Clients()
	if err != nil {
		return 0, err
	}
	list, err := standIns(b.family)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, a := range list {
		switch {
		case busy[a]:
		case from[a]:
			kept++
		default:
			failed = append(failed, removeStandIn(a))
		}
	}
	return kept, errors.Join(failed...)
}

// remove removes all of it at once, with the connections that stand.
func (b *balancer) remove() error {
	link, err := device()
	if err != nil {
		return err
	}
	failed := []error{replaceDevice(link, b.family)}
	list, needed, err := b.servers()
	if err != nil {
		return errors.Join(append(failed, err)...)
	}
	for _, s := range list {
		failed = append(failed, b.others.Delete(s))
	}
	addrs, err := standIns(b.family)
	failed = append(failed, err)
	for _, a := range addrs {
		if !needed[a] {
			failed = append(failed, removeStandIn(a))
		}
	}
	return errors.Join(failed...)
}
