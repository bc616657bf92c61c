package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// seenReply is the bit of an entry's status that says that a packet has come back (IPS_SEEN_REPLY in nf_conntrack_common.h).
const seenReply = 1 << 1

// parseFlow reads an entry as the kernel dumps it. The library's own reader knows neither the status nor the ports of SCTP, and
// is slow where hundreds of thousands of entries have to be read. The flow has no identity yet.
func parseFlow(message []byte) flow {
	var f flow
	var status uint32
	var tcpState uint8
	for a, rest := nextAttribute(body(message)); a != nil; a, rest = nextAttribute(rest) {
		switch a.kind() {
		case nl.CTA_TUPLE_ORIG:
			t := parseTuple(a.value())
			f.protocol, f.to = t.protocol, t.destination
		case nl.CTA_TUPLE_REPLY:
			f.from = parseTuple(a.value()).source
		case nl.CTA_STATUS:
			status = a.uint32()
		case nl.CTA_PROTOINFO:
			tcpState = parseTCPState(a.value())
		}
	}
	f.opening = status&seenReply == 0
	if f.protocol == service.TCP {
		// A connection that was picked up in the middle, and of which only one direction comes by here, has seen no reply either.
		f.opening = f.opening && tcpState == nl.TCP_CONNTRACK_SYN_SENT
	}
	return f
}

// identity copies out of an entry what the kernel has to be given to delete it. With the id it deletes this very entry, and
// none that has taken its place since.
func identity(message []byte) []byte {
	var id []byte
	for a, rest := nextAttribute(body(message)); a != nil; a, rest = nextAttribute(rest) {
		switch a.kind() {
		case nl.CTA_TUPLE_ORIG, nl.CTA_ZONE, nl.CTA_ID:
			id = append(id, a...)
		}
	}
	return id
}

// body is a message without its header, which says no more than the family.
func body(message []byte) []byte { return message[min(nl.SizeofNfgenmsg, len(message)):] }

// tuple is one direction of an entry.
type tuple struct {
	protocol            service.Protocol
	source, destination netip.AddrPort
}

// What a tuple is made of: the attribute outside in the upper byte, the one within it in the lower.
const (
	ipv4Source      = nl.CTA_TUPLE_IP<<8 | nl.CTA_IP_V4_SRC
	ipv4Destination = nl.CTA_TUPLE_IP<<8 | nl.CTA_IP_V4_DST
	ipv6Source      = nl.CTA_TUPLE_IP<<8 | nl.CTA_IP_V6_SRC
	ipv6Destination = nl.CTA_TUPLE_IP<<8 | nl.CTA_IP_V6_DST
	protocolNumber  = nl.CTA_TUPLE_PROTO<<8 | nl.CTA_PROTO_NUM
	portSource      = nl.CTA_TUPLE_PROTO<<8 | nl.CTA_PROTO_SRC_PORT
	portDestination = nl.CTA_TUPLE_PROTO<<8 | nl.CTA_PROTO_DST_PORT
)

func parseTuple(data []byte) tuple {
	var protocol uint8
	var source, destination netip.Addr
	var sourcePort, destinationPort uint16
	for outer, rest := nextAttribute(data); outer != nil; outer, rest = nextAttribute(rest) {
		for a, rest := nextAttribute(outer.value()); a != nil; a, rest = nextAttribute(rest) {
			switch outer.kind()<<8 | a.kind() {
			case ipv4Source, ipv6Source:
				source, _ = netip.AddrFromSlice(a.value())
			case ipv4Destination, ipv6Destination:
				destination, _ = netip.AddrFromSlice(a.value())
			case protocolNumber:
				protocol = a.uint8()
			case portSource:
				sourcePort = a.uint16()
			case portDestination:
				destinationPort = a.uint16()
			}
		}
	}
	return tuple{
		protocol:    service.Protocol(protocol),
		source:      netip.AddrPortFrom(source, sourcePort),
		destination: netip.AddrPortFrom(destination, destinationPort),
	}
}

func parseTCPState(protoInfo []byte) (state uint8) {
	for outer, rest := nextAttribute(protoInfo); outer != nil; outer, rest = nextAttribute(rest) {
		if outer.kind() != nl.CTA_PROTOINFO_TCP {
			continue
		}
		for a, rest := nextAttribute(outer.value()); a != nil; a, rest = nextAttribute(rest) {
			if a.kind() == nl.CTA_PROTOINFO_TCP_STATE {
				state = a.uint8()
			}
		}
	}
	return state
}

// attribute is one attribute of a netlink message, with its header and the padding behind it.
type attribute []byte

// nextAttribute cuts the first attribute off. It is nil at the end, and where what is left is no attribute.
func nextAttribute(data []byte) (a attribute, rest []byte) {
	if len(data) < unix.SizeofNlAttr {
		return nil, nil
	}
	length := int(binary.NativeEndian.Uint16(data))
	if length < unix.SizeofNlAttr || length > len(data) {
		return nil, nil
	}
	padded := min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(data))
	return data[:padded], data[padded:]
}

func (a attribute) kind() uint16 { return binary.NativeEndian.Uint16(a[2:]) & nl.NLA_TYPE_MASK }

func (a attribute) value() []byte { return a[unix.SizeofNlAttr:binary.NativeEndian.Uint16(a)] }

// Numbers within are in network order. One that is too short counts as 0.

func (a attribute) uint8() uint8 {
	if v := a.value(); len(v) >= 1 {
		return v[0]
	}
	return 0
}

func (a attribute) uint16() uint16 {
	if v := a.value(); len(v) >= 2 {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (a attribute) uint32() uint32 {
	if v := a.value(); len(v) >= 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}
