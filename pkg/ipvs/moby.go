package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// kernelServers is IPVS in the kernel, in the network namespace of the thread that uses it first. It is for one goroutine at a time, as is
// the socket of github.com/moby/ipvs.
type kernelServers struct {
	family service.Family
	handle *moby.Handle // nil: not open
	counts map[key]statistics
}

// newServers returns the virtual servers of a family. It touches nothing before its first use.
func newServers(family service.Family) *kernelServers { return &kernelServers{family: family} }

// patience is how long the kernel may take for a call, which it spends on loading a scheduler at worst. The library itself would wait
// for a lost answer forever.
const patience = 30 * time.Second

// do asks again on a new socket unless the kernel answered: after an error of the socket itself (ENOBUFS), or in the middle of a list
// (EBUSY for the next one), it is of no more use. So what was done already may look as if another had done it.
func (k *kernelServers) do(ask func(*moby.Handle) error) error {
	err := k.try(ask)
	if err != nil && !answered(err) && !errors.Is(err, ErrNoIPVS) {
		err = k.try(ask)
	}
	return err
}

func (k *kernelServers) try(ask func(*moby.Handle) error) error {
	if k.handle == nil {
		handle, err := openIPVS()
		if err != nil {
			return err
		}
		k.handle = handle
	}
	alarm := time.AfterFunc(patience, k.handle.Close)
	defer alarm.Stop()
	err := ask(k.handle)
	if err != nil && !answered(err) {
		k.handle.Close()
		k.handle = nil
	}
	return err
}

// openIPVS probes first, as the library looks for IPVS but once in the life of a process: where it was not there then, each call does
// nothing and succeeds. Whether it does is told by a virtual server that cannot be.
func openIPVS() (*moby.Handle, error) {
	if err := Probe(); err != nil {
		return nil, err
	}
	handle, err := moby.New("")
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket to IPVS: %w", err)
	}
	if handle.IsServicePresent(&moby.Service{AddressFamily: unix.AF_INET, Address: net.IPv4zero, Protocol: unix.IPPROTO_RAW}) {
		handle.Close()
		return nil, errors.New("IPVS was loaded too late to be found; restart Fairlead")
	}
	return handle, nil
}

// answered reports whether an error is the kernel's answer, rather than none.
func answered(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE)
}

// List may miss a virtual server, or have one twice, when others are added and removed meanwhile: it takes several messages between which
// the kernel holds no lock, and it does not mark such a list as interrupted.
func (k *kernelServers) List() ([]virtualServer, error) {
	var found []*moby.Service
	err := k.do(func(h *moby.Handle) (err error) { found, err = h.GetServices(); return err })
	if err != nil {
		return nil, fmt.Errorf("list virtual servers: %w", err)
	}
	var list []virtualServer
	k.counts = make(map[key]statistics, len(found))
	for _, s := range found {
		addr, ok := netip.AddrFromSlice(s.Address)
		if s.FWMark != 0 || int(s.AddressFamily) != rtnl.Family(k.family) || !ok {
			continue
		}
		list = append(list, virtualServer{
			key:       key{service.Protocol(s.Protocol), netip.AddrPortFrom(addr, s.Port)},
			scheduler: s.SchedName,
			flags:     s.Flags &^ flagHashed,
			timeout:   time.Duration(s.Timeout) * time.Second,
		})
		k.counts[list[len(list)-1].key] = statisticsOf(s.Stats)
	}
	return list, nil
}

// Statistics implements servers.
func (k *kernelServers) Statistics() map[key]statistics { return k.counts }

func (k *kernelServers) Add(s virtualServer) error {
	err := k.do(func(h *moby.Handle) error { return h.NewService(k.full(s)) })
	return serverError("add", s, err)
}

func (k *kernelServers) Update(s virtualServer) error {
	err := k.do(func(h *moby.Handle) error { return h.UpdateService(k.full(s)) })
	return serverError("update", s, err)
}

func (k *kernelServers) Delete(at key) error {
	err := k.do(func(h *moby.Handle) error { return h.DelService(k.bare(at)) })
	return serverError("delete", virtualServer{key: at}, err)
}

// bare is enough to name a virtual server.
func (k *kernelServers) bare(at key) *moby.Service {
	return &moby.Service{
		AddressFamily: uint16(rtnl.Family(k.family)),
		Protocol:      uint16(at.protocol),
		Address:       at.address.Addr().AsSlice(),
		Port:          at.address.Port(),
	}
}

// full never has flagHashed: given that, the kernel takes a new virtual server for listed, and nobody finds it again.
func (k *kernelServers) full(s virtualServer) *moby.Service {
	full := k.bare(s.key)
	full.SchedName = s.scheduler
	full.Flags = s.flags &^ flagHashed
	full.Timeout = uint32(s.timeout / time.Second)
	full.Netmask = 128 // The whole address: a length for IPv6, a mask for IPv4.
	if k.family == service.IPv4 {
		full.Netmask = 0xffffffff
	}
	return full
}

// serverError is said in our terms (ip_vs_genl_set_cmd in net/netfilter/ipvs/ip_vs_ctl.c).
func serverError(doing string, s virtualServer, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		err = errExists
	case errors.Is(err, unix.ESRCH):
		err = errNotFound
	case errors.Is(err, unix.ENOENT):
		err = fmt.Errorf("%w: %s; load the module ip_vs_%s", errNoScheduler, s.scheduler, s.scheduler)
	}
	return fmt.Errorf("%s virtual server %s: %w", doing, s.key, err)
}

// ListReal returns nothing where there is no such virtual server: the kernel does not tell the difference.
func (k *kernelServers) ListReal(at key) ([]realServer, error) {
	var found []*moby.Destination
	err := k.do(func(h *moby.Handle) (err error) { found, err = h.GetDestinations(k.bare(at)); return err })
	if err != nil {
		return nil, fmt.Errorf("list the real servers of %s: %w", at, err)
	}
	var list []realServer
	for _, d := range found {
		addr, ok := netip.AddrFromSlice(d.Address)
		if !ok {
			continue
		}
		list = append(list, realServer{
			address: netip.AddrPortFrom(addr, d.Port),
			weight:  uint16(d.Weight),
			// Not the templates of session affinity, which the kernel counts apart: they are no connections, and with
			// expire_quiescent_template those of a draining real server are void.
			connections: d.ActiveConnections + d.InactiveConnections,
			established: d.ActiveConnections,
		})
	}
	return list, nil
}

func (k *kernelServers) AddReal(at key, r realServer) error {
	err := k.do(func(h *moby.Handle) error { return h.NewDestination(k.bare(at), destination(r)) })
	return realError("add", at, r.address, err)
}

func (k *kernelServers) UpdateReal(at key, r realServer) error {
	err := k.do(func(h *moby.Handle) error { return h.UpdateDestination(k.bare(at), destination(r)) })
	return realError("update", at, r.address, err)
}

func (k *kernelServers) DeleteReal(at key, address netip.AddrPort) error {
	err := k.do(func(h *moby.Handle) error {
		return h.DelDestination(k.bare(at), destination(realServer{address: address}))
	})
	return realError("delete", at, address, err)
}

func destination(r realServer) *moby.Destination {
	return &moby.Destination{
		Address:         r.address.Addr().AsSlice(),
		Port:            r.address.Port(),
		Weight:          int(r.weight),
		ConnectionFlags: moby.ConnectionFlagMasq,
	}
}

// realError is said in our terms: a missing virtual server is ESRCH to the kernel, a missing real server ENOENT.
func realError(doing string, at key, address netip.AddrPort, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		err = errExists
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT):
		err = errNotFound
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		err = fmt.Errorf("%w (%w)", errRefused, err)
	}
	return fmt.Errorf("%s real server %s of %s: %w", doing, address, at, err)
}

// setTimeouts sets how long the kernel remembers idle connections, in whole seconds; 0 leaves one as it is. They are those of the network
// namespace, for both families and all virtual servers.
func (k *kernelServers) setTimeouts(tcp, tcpFin, udp time.Duration) error {
	if tcp == 0 && tcpFin == 0 && udp == 0 {
		return nil
	}
	err := k.do(func(h *moby.Handle) error {
		return h.SetConfig(&moby.Config{TimeoutTCP: tcp, TimeoutTCPFin: tcpFin, TimeoutUDP: udp})
	})
	if err != nil {
		return fmt.Errorf("set the timeouts of IPVS: %w", err)
	}
	return nil
}

func (k *kernelServers) UDPTimeout() (timeout time.Duration, err error) {
	err = k.do(func(h *moby.Handle) error {
		config, err := h.GetConfig()
		if err == nil {
			timeout = config.TimeoutUDP
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the timeouts of IPVS: %w", err)
	}
	return timeout, nil
}

func (k *kernelServers) Close() {
	if k.handle != nil {
		k.handle.Close()
		k.handle = nil
	}
}
