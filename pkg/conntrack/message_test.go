package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// entry makes a message as the kernel dumps it, with some attributes that do not matter here.
func entry(f service.Family, protocol service.Protocol, client, to, from netip.AddrPort, status uint32, tcpState uint8) []byte {
	direction := func(kind int, source, destination netip.AddrPort) []byte {
		sourceKind, destinationKind := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
		if f == service.IPv6 {
			sourceKind, destinationKind = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
		}
		outer := nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil)
		ip := outer.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
		ip.AddRtAttr(sourceKind, source.Addr().AsSlice())
		ip.AddRtAttr(destinationKind, destination.Addr().AsSlice())
		proto := outer.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
		proto.AddRtAttr(nl.CTA_PROTO_NUM, []byte{uint8(protocol)})
		proto.AddRtAttr(nl.CTA_PROTO_SRC_PORT, binary.BigEndian.AppendUint16(nil, source.Port()))
		proto.AddRtAttr(nl.CTA_PROTO_DST_PORT, binary.BigEndian.AppendUint16(nil, destination.Port()))
		return outer.Serialize()
	}
	number := func(kind int, value uint32) []byte {
		return nl.NewRtAttr(kind, binary.BigEndian.AppendUint32(nil, value)).Serialize()
	}
	message := []byte{uint8(f), nl.NFNETLINK_V0, 0, 0}
	message = append(message, direction(nl.CTA_TUPLE_ORIG, client, to)...)
	message = append(message, direction(nl.CTA_TUPLE_REPLY, from, client)...)
	message = append(message, number(nl.CTA_STATUS, status)...)
	message = append(message, number(nl.CTA_TIMEOUT, 30)...)
	if protocol == service.TCP {
		info := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_PROTOINFO, nil)
		tcp := info.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_PROTOINFO_TCP, nil)
		tcp.AddRtAttr(nl.CTA_PROTOINFO_TCP_STATE, []byte{tcpState})
		message = append(message, info.Serialize()...)
	}
	message = append(message, number(nl.CTA_ID, 4711)...)
	return append(message, number(nl.CTA_USE, 1)...)
}

func TestFlowsAreReadFromMessages(t *testing.T) {
	const replied = seenReply | 1<<8
	tests := []struct {
		name     string
		protocol service.Protocol
		status   uint32
		state    uint8
		opening  bool
	}{
		{"a UDP flow that was answered", service.UDP, replied, 0, false},
		{"a UDP flow that was not", service.UDP, 0, 0, true},
		{"an SCTP connection that was answered", service.SCTP, replied, 0, false},
		{"an SCTP connection that was not", service.SCTP, 0, 0, true},
		{"a TCP connection that was answered", service.TCP, replied, nl.TCP_CONNTRACK_ESTABLISHED, false},
		{"a TCP connection that was not", service.TCP, 0, nl.TCP_CONNTRACK_SYN_SENT, true},
		{"a TCP connection that was picked up in the middle", service.TCP, 0, nl.TCP_CONNTRACK_ESTABLISHED, false},
	}
	for _, f := range families {
		for _, test := range tests {
			t.Run(f.String()+"/"+test.name, func(t *testing.T) {
				to, from := at(f, "vip:53"), at(f, "a:5353")
				message := entry(f, test.protocol, at(f, "away:40000"), to, from, test.status, test.state)
				got := parseFlow(message)
				if got.protocol != test.protocol || got.to != to || got.from != from || got.opening != test.opening || !got.translated() {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestIdentityIsTheOriginalDirectionAndTheID(t *testing.T) {
	message := entry(service.IPv4, service.UDP, at(service.IPv4, "away:40000"), at(service.IPv4, "vip:53"), at(service.IPv4, "a:53"), 0, 0)
	var kinds []uint16
	for a, rest := nextAttribute(identity(message)); a != nil; a, rest = nextAttribute(rest) {
		kinds = append(kinds, a.kind())
	}
	if len(kinds) != 2 || kinds[0] != nl.CTA_TUPLE_ORIG || kinds[1] != nl.CTA_ID {
		t.Errorf("got %d", kinds)
	}
}

// FuzzFlowsAreReadFromAnything cuts and mangles messages.
func FuzzFlowsAreReadFromAnything(f *testing.F) {
	for _, family := range families {
		f.Add(entry(family, service.TCP, at(family, "away:40000"), at(family, "vip:53"), at(family, "a:53"), seenReply, 1))
	}
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, message []byte) {
		parseFlow(message)
		if len(identity(message)) > len(message) {
			t.Error("the identity is longer than the message")
		}
	})
}

// TestNothingIsDeletedWithoutAName: the kernel takes a request to delete without an entry for one to delete all.
func TestNothingIsDeletedWithoutAName(t *testing.T) {
	if err := (netlinkTable{service.IPv4}).remove(flow{}); err == nil {
		t.Error("no error")
	}
}

func TestAMissingModuleIsNamed(t *testing.T) {
	for _, err := range []error{unix.EINVAL, unix.EPROTONOSUPPORT} {
		if text := explain(err).Error(); !strings.Contains(text, "load the module nf_conntrack_netlink") {
			t.Errorf("%v: %s", err, text)
		}
	}
	if err := explain(unix.ENOBUFS); !errors.Is(err, unix.ENOBUFS) || strings.Contains(err.Error(), "module") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkLookAtOneFlow is what each entry of the kernel's table costs, where 10,000 ports have to be looked at.
func BenchmarkLookAtOneFlow(b *testing.B) {
	const f = service.IPv4
	var ports []port
	for i := range 10000 {
		ports = append(ports, port{name: strconv.Itoa(i), at: fmt.Sprintf("vip:%d :%d", i+1, 20000+i), to: "a:53 b:53"})
	}
	left, is := newBacklog(), buildTable(f, ports...)
	left.add(nil, is, nil, false)
	j := newJudge(&left, is, Options{})
	message := entry(f, service.UDP, at(f, "away:40000"), at(f, "vip2:20053"), at(f, "b:53"), seenReply, 0)
	b.ReportAllocs()
	for b.Loop() {
		j.stale(parseFlow(message))
	}
}
