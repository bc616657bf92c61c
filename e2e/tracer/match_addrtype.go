package tracer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// addrType is a set of address types.
type addrType uint8

const (
	typeUnicast addrType = 1 << iota
	typeLocal
	typeBroadcast
	typeMulticast
)

// addrTypeNames are in the order of the bits, which is the order of the
// kernel. Types that only a routing table can tell are not known here.
var addrTypeNames = []string{"UNICAST", "LOCAL", "BROADCAST", "MULTICAST"}

// addrtypeMatch is -m addrtype.
type addrtypeMatch struct {
	src, dst addrTypeTest
	// The limits to an interface are read and written, but not looked at.
	limitIn, limitOut bool
}

func (m *addrtypeMatch) name() string { return "addrtype" }

func (m *addrtypeMatch) options(*ruleEnv) []option {
	return []option{
		invertibleOpt("--src-type", 1, m.src.read),
		invertibleOpt("--dst-type", 1, m.dst.read),
		flag("--limit-iface-in", &m.limitIn),
		flag("--limit-iface-out", &m.limitOut),
	}
}

func (m *addrtypeMatch) check(*rule) error {
	switch {
	case m.src.types == 0 && m.dst.types == 0:
		return errors.New("neither --src-type nor --dst-type is given")
	case m.limitIn && m.limitOut:
		return errors.New("--limit-iface-in and --limit-iface-out do not go together")
	}
	return nil
}

func (m *addrtypeMatch) matches(w *walk, f *flight) bool {
	return (m.src.types == 0 || m.src.matches(w.sourceType(f.src.Addr()))) &&
		(m.dst.types == 0 || m.dst.matches(w.addrType(f.dst.Addr())))
}

func (m *addrtypeMatch) text(family) string {
	text := m.src.text("--src-type") + m.dst.text("--dst-type")
	if m.limitIn {
		text += " --limit-iface-in"
	}
	if m.limitOut {
		text += " --limit-iface-out"
	}
	return text
}

// addrTypeTest is --src-type or --dst-type.
type addrTypeTest struct {
	inverted bool
	types    addrType
}

func (t *addrTypeTest) read(inverted bool, values []string) error {
	t.inverted = inverted
	for name := range strings.SplitSeq(values[0], ",") {
		bit := addrType(0)
		for i, known := range addrTypeNames {
			if strings.EqualFold(known, name) {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return fmt.Errorf("address type %q is not supported", name)
		}
		t.types |= bit
	}
	return nil
}

func (t *addrTypeTest) matches(a addrType) bool { return (t.types&a != 0) != t.inverted }

func (t *addrTypeTest) text(name string) string {
	if t.types == 0 {
		return ""
	}
	var names []string
	for i, n := range addrTypeNames {
		if t.types&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return optionText(t.inverted, name, strings.Join(names, ","))
}

var allHosts = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// addrType tells the type of an address as far as the address and the node's
// own ones tell it; the broadcast address of a subnet is taken for UNICAST.
func (w *walk) addrType(a netip.Addr) addrType {
	switch {
	case w.local(a):
		return typeLocal
	case a.IsMulticast():
		return typeMulticast
	case a == allHosts:
		return typeBroadcast
	case a.IsUnspecified():
		return 0
	}
	return typeUnicast
}

// sourceType takes what the node sends for LOCAL, whatever its address.
func (w *walk) sourceType(a netip.Addr) addrType {
	if w.packet.FromNode {
		return typeLocal
	}
	return w.addrType(a)
}
