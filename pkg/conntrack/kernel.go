package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// errInterrupted says that the kernel's table changed its shape during a dump, which may have missed entries.
var errInterrupted = errors.New("the dump was interrupted")

// kernel is the connection tracking of one family.
type kernel interface {
	// dump goes through the table once and returns the flows that stale picks. only may spare the kernel to hand over entries
	// of other protocols; 0 means all. With errInterrupted, the flows are good, but there may be more.
	dump(only service.Protocol, stale func(flow) bool) ([]flow, error)
	// remove deletes one entry. It is no error if it is gone already.
	remove(flow) error
}

// netlinkTable speaks to the kernel. Each call has a socket of its own, opened on the caller's thread, and so in the network
// namespace that the caller is in.
type netlinkTable struct{ family service.Family }

func (t netlinkTable) request(operation, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	family := uint8(unix.AF_INET)
	if t.family == service.IPv6 {
		family = unix.AF_INET6
	}
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return r
}

func (t netlinkTable) dump(only service.Protocol, stale func(flow) bool) ([]flow, error) {
	r := t.request(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	if only != 0 {
		r.AddRawData(protocolFilter(only))
	}
	var found []flow
	err := r.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(message []byte) bool {
		if f := parseFlow(message); stale(f) {
			f.identity = identity(message)
			found = append(found, f)
		}
		return true
	})
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, unix.EINTR):
		return found, errInterrupted
	case errors.Is(err, unix.EINVAL) && only != 0:
		return t.dump(0, stale) // the kernel may not like the filter
	default:
		return nil, explain(err)
	}
}

func (t netlinkTable) remove(f flow) error {
	if len(f.identity) == 0 {
		return errors.New("an entry that is not named: the kernel would delete all")
	}
	r := t.request(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	r.AddRawData(f.identity)
	if _, err := r.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return explain(err)
	}
	return nil
}

// explain says what to do about the errors of a kernel that cannot do this at all. It loads the module by itself where it may;
// where it may not, a request for a part of netfilter that is missing is an invalid argument.
func explain(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: the kernel has no netlink interface to connection tracking; load the module nf_conntrack_netlink on the host", err)
	}
	return err
}

// These are missing in the library; see nfnetlink_conntrack.h, and nf_internals.h for the flag.
const (
	ctaFilter          = 25
	ctaFilterOrigFlags = 1
	filterByProtocol   = 1 << 3
)

// protocolFilter makes the kernel dump entries of one protocol alone, so that a change of a UDP port does not cost a copy of
// every TCP connection. Kernels before 5.8 do not know it and dump everything.
func protocolFilter(p service.Protocol) []byte {
	orig := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
	orig.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil).AddRtAttr(nl.CTA_PROTO_NUM, []byte{uint8(p)})
	filter := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	filter.AddRtAttr(ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, filterByProtocol))
	return append(orig.Serialize(), filter.Serialize()...)
}
