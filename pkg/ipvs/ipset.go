package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
)

// kernelSets are the ipsets of the network namespace of the calling thread. Package netlink makes them. It does not fill, read and destroy
// them: it needs a message and a socket for each entry, a channel for each attribute of a list, gives entries of a bitmap:port a
// protocol, which the kernel refuses (seen on Linux 6.1 to 6.18), lists names together with all entries of everybody's sets, and does not
// tell of a set to destroy that is not there.
type kernelSets struct{ family service.Family }

// newSets returns the sets of a family.
func newSets(family service.Family) sets { return kernelSets{family} }

const (
	// maxEntries of a hash set. The kernel's default, 65,536, has been too little (kubernetes#129389); unused room costs nothing.
	maxEntries = 1 << 20
	// batch is how many entries go into one message, which has to stay below 64 KiB; one takes 76 bytes at most.
	batch = 256
	// listNames asks for names only (IPSET_FLAG_LIST_SETNAME in linux/netfilter/ipset/ip_set.h).
	listNames = 1 << 1

	nested, networkOrder = int(nl.NLA_F_NESTED), int(nl.NLA_F_NET_BYTEORDER) // flags of attributes
)

func (k kernelSets) Names() ([]string, error) {
	request := ipsetRequest(nl.IPSET_CMD_LIST)
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_FLAGS|networkOrder, nl.BEUint32Attr(listNames)))
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, fmt.Errorf("%w (%w)", errNoSets, err)
	}
	if err != nil {
		return nil, setError("list ipsets", "", err)
	}
	var names []string
	for _, message := range messages {
		fields, err := parseMessage(message)
		if err != nil {
			return nil, setError("list ipsets", "", err)
		}
		names = append(names, text(fields[nl.IPSET_ATTR_SETNAME]))
	}
	return names, nil
}

func (k kernelSets) Create(s ipset) error {
	options := netlink.IpsetCreateOptions{PortTo: math.MaxUint16} // counts for bitmap:port
	if s.kind != ofPorts {
		options = netlink.IpsetCreateOptions{Family: k.familyOf(s.kind), MaxElements: maxEntries}
	}
	err := netlink.IpsetCreate(s.name, string(s.kind), options)
	if errors.Is(err, nl.IPSetError(nl.IPSET_ERR_FIND_TYPE)) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("create ipset %s: %w: it has none of type %s (%w): load the modules ip_set and %s on the node (kernel option CONFIG_%s), or use --proxy-mode=iptables",
			s.name, errNoType, s.kind, err, s.kind.module(), strings.ToUpper(s.kind.module()))
	}
	return setError("create ipset", s.name, err)
}

func (k kernelSets) Destroy(name string) error {
	request := ipsetRequest(nl.IPSET_CMD_DESTROY)
	request.Flags |= unix.NLM_F_EXCL // or the kernel does not mind a set that is not there
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	return setError("destroy ipset", name, err)
}

// List leaves out entries that are none of ours: exceptions (nomatch), and pairs of two different networks.
func (k kernelSets) List(s ipset) ([]entry, error) {
	request := ipsetRequest(nl.IPSET_CMD_LIST)
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(s.name)))
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, setError("list ipset", s.name, err)
	}
	var list []entry
	for i, message := range messages {
		fields, err := parseMessage(message)
		if err != nil {
			return nil, setError("list ipset", s.name, err)
		}
		// Only the first message says what the set is.
		if i == 0 && (text(fields[nl.IPSET_ATTR_TYPENAME]) != string(s.kind) || !slices.Equal(fields[nl.IPSET_ATTR_FAMILY], []byte{k.familyOf(s.kind)})) {
			return nil, setError("list ipset", s.name, errWrongKind)
		}
		entries, err := decodeEntries(s.kind, fields[nl.IPSET_ATTR_ADT])
		if err != nil {
			return nil, setError("list ipset", s.name, err)
		}
		list = append(list, entries...)
	}
	return list, nil
}

func (k kernelSets) Add(s ipset, entries ...entry) error {
	return setError("add to ipset", s.name, k.change(nl.IPSET_CMD_ADD, s, entries))
}

func (k kernelSets) Delete(s ipset, entries ...entry) error {
	return setError("delete from ipset", s.name, k.change(nl.IPSET_CMD_DEL, s, entries))
}

// change does not ask for errors about what is there already, or is not (NLM_F_EXCL). After an error, the entries of a message before the
// one that it is about have been changed.
func (k kernelSets) change(command int, s ipset, entries []entry) error {
	for part := range slices.Chunk(entries, batch) {
		request := ipsetRequest(command)
		request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(s.name)))
		// The kernel insists on a line number beside a list, and reports none where the entries have none themselves.
		request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_LINENO|networkOrder, nl.BEUint32Attr(0)))
		list := nl.NewRtAttr(nl.IPSET_ATTR_ADT|nested, nil)
		for _, e := range part {
			encoded, err := encodeEntry(s.kind, e)
			if err != nil {
				return err
			}
			list.AddChild(encoded)
		}
		request.AddData(list)
		if _, err := request.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
			return err
		}
	}
	return nil
}

// familyOf is what the kernel calls the family of a set; one of ports has none.
func (k kernelSets) familyOf(kind setKind) uint8 {
	if kind == ofPorts {
		return unix.AF_UNSPEC
	}
	return uint8(rtnl.Family(k.family))
}

// module is the kernel's module for such sets.
func (kind setKind) module() string {
	return "ip_set_" + strings.NewReplacer(":", "_", ",", "").Replace(string(kind))
}

// setError says an error of the kernel in our terms.
func setError(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	const busy, full = syscall.Errno(nl.IPSET_ERR_BUSY), syscall.Errno(nl.IPSET_ERR_TYPE_SPECIFIC)
	errno, _ := errors.AsType[syscall.Errno](err)
	if private, is := errors.AsType[nl.IPSetError](err); is {
		errno = syscall.Errno(private)
	}
	switch {
	case errno == unix.ENOENT:
		err = errNotFound
	case errno == unix.EEXIST:
		err = errExists
	case errno == busy:
		err = errors.New("is in use; find the rule that names it (iptables-save), and remove that")
	case errno == full:
		err = errFull
	case errno >= nl.IPSET_ERR_PRIVATE:
		err = nl.IPSetError(errno)
	}
	return fmt.Errorf("%s: %w", strings.TrimSpace(doing+" "+name), err)
}

func ipsetRequest(command int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(command|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(command))
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, []byte{nl.IPSET_PROTOCOL}))
	return request
}

// encodeEntry uses the attributes of a set's first element for the frontend, and those of the second (IP2, CIDR2) for the client.
func encodeEntry(kind setKind, e entry) (*nl.RtAttr, error) {
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|nested, nil)
	switch kind {
	case ofFrontends, ofClients:
		encodeAddress(data, nl.IPSET_ATTR_IP, e.key.address.Addr())
		data.AddRtAttr(nl.IPSET_ATTR_PROTO, []byte{uint8(e.key.protocol)})
	case ofPairs:
		encodeAddress(data, nl.IPSET_ATTR_IP, e.client.Addr())
		data.AddRtAttr(nl.IPSET_ATTR_CIDR, []byte{uint8(e.client.Bits())})
	}
	if kind != ofPairs {
		data.AddRtAttr(nl.IPSET_ATTR_PORT|networkOrder, nl.BEUint16Attr(e.key.address.Port()))
	}
	if kind == ofClients || kind == ofPairs {
		if e.client.Bits() < 1 {
			return nil, fmt.Errorf("%w: %s: an ipset cannot hold all addresses as one network; give two halves", errRefused, e.client)
		}
		encodeAddress(data, nl.IPSET_ATTR_IP2, e.client.Addr())
		data.AddRtAttr(nl.IPSET_ATTR_CIDR2, []byte{uint8(e.client.Bits())})
	}
	return data, nil
}

func encodeAddress(data *nl.RtAttr, kind int, a netip.Addr) {
	family := nl.IPSET_ATTR_IPADDR_IPV6
	if a.Is4() {
		family = nl.IPSET_ATTR_IPADDR_IPV4
	}
	data.AddRtAttr(kind|nested, nil).AddRtAttr(family|networkOrder, a.AsSlice())
}

// attributes are netlink attributes by kind, without flags.
type attributes map[int][]byte

func parseAttributes(data []byte) (attributes, error) {
	list, err := nl.ParseRouteAttr(data)
	if err != nil {
		return nil, err
	}
	byKind := make(attributes, len(list))
	for _, a := range list {
		byKind[int(a.Attr.Type&nl.NLA_TYPE_MASK)] = a.Value
	}
	return byKind, nil
}

func parseMessage(message []byte) (attributes, error) {
	if len(message) < nl.SizeofNfgenmsg {
		return nil, errors.New("the kernel's message is too short")
	}
	return parseAttributes(message[nl.SizeofNfgenmsg:])
}

func decodeEntries(kind setKind, data []byte) ([]entry, error) {
	list, err := nl.ParseRouteAttr(data)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(list))
	for _, one := range list {
		fields, err := parseAttributes(one.Value)
		if err != nil {
			return nil, err
		}
		if e, ours := decodeEntry(kind, fields); ours {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// decodeEntry undoes encodeEntry; ours is false for what that does not make.
func decodeEntry(kind setKind, data attributes) (e entry, ours bool) {
	var addr, client netip.Addr
	var err error
	if kind != ofPorts {
		if addr, err = decodeAddress(data[nl.IPSET_ATTR_IP]); err != nil {
			return entry{}, false
		}
	}
	if kind == ofClients || kind == ofPairs {
		bits := data[nl.IPSET_ATTR_CIDR2]
		if client, err = decodeAddress(data[nl.IPSET_ATTR_IP2]); err != nil || len(bits) != 1 {
			return entry{}, false
		}
		e.client = netip.PrefixFrom(client, int(bits[0]))
	}
	if kind == ofPairs {
		return e, addr == client && slices.Equal(data[nl.IPSET_ATTR_CIDR], data[nl.IPSET_ATTR_CIDR2])
	}
	port, protocol := data[nl.IPSET_ATTR_PORT], data[nl.IPSET_ATTR_PROTO]
	if kind == ofPorts {
		protocol = []byte{uint8(service.TCP)}
	}
	if len(port) != 2 || len(protocol) != 1 {
		return entry{}, false
	}
	e.key = key{service.Protocol(protocol[0]), netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))}
	_, exception := data[nl.IPSET_ATTR_CADT_FLAGS]
	return e, !exception
}

func decodeAddress(data []byte) (netip.Addr, error) {
	list, err := nl.ParseRouteAttr(data)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(list) == 1 {
		if addr, ok := netip.AddrFromSlice(list[0].Value); ok {
			return addr, nil
		}
	}
	return netip.Addr{}, errors.New("no address")
}

// text is a string that ends with a zero byte.
func text(value []byte) string { return strings.TrimRight(string(value), "\x00") }
