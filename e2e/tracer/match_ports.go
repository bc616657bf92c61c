package tracer

import (
	"errors"
	"fmt"
	"strings"
)

// portMatch is -m tcp, -m udp and -m sctp.
type portMatch struct {
	proto    string
	src, dst portTest
	flags    flagTest // tcp only
}

func (m *portMatch) name() string { return m.proto }

func (m *portMatch) options(*ruleEnv) []option {
	options := []option{
		invertibleOpt("--sport --source-port", 1, m.src.read),
		invertibleOpt("--dport --destination-port", 1, m.dst.read),
	}
	if m.proto != "tcp" {
		return options
	}
	return append(options,
		invertibleOpt("--tcp-flags", 2, m.flags.read),
		invertibleOpt("--syn", 0, func(inverted bool, _ []string) error {
			return m.flags.read(inverted, []string{"FIN,SYN,RST,ACK", "SYN"})
		}))
}

func (m *portMatch) check(r *rule) error {
	if !r.header.proto.is(m.proto) {
		return fmt.Errorf("needs -p %s", m.proto)
	}
	return nil
}

func (m *portMatch) matches(w *walk, f *flight) bool {
	return m.src.matches(f.src.Port()) && m.dst.matches(f.dst.Port()) && m.flags.matches(w.tcpFlags)
}

func (m *portMatch) text(family) string {
	return m.src.text("--sport") + m.dst.text("--dport") + m.flags.text()
}

// portTest is --sport or --dport.
type portTest struct {
	set, inverted bool
	ports         portRange
}

func (t *portTest) read(inverted bool, values []string) error {
	ports, err := parsePortRange(values[0])
	if err != nil {
		return err
	}
	every := ports == portRange{0, 65535}
	if every && inverted {
		return errors.New("no port at all would match, and iptables-save forgets it")
	}
	*t = portTest{set: !every, inverted: inverted, ports: ports}
	return nil
}

func (t *portTest) matches(port uint16) bool {
	return !t.set || t.ports.contains(port) != t.inverted
}

func (t *portTest) text(name string) string {
	if !t.set {
		return ""
	}
	return optionText(t.inverted, name, t.ports.String())
}

// tcpFlagNames are the flags in the order of their bits.
var tcpFlagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

const (
	tcpSyn = 1 << 1
	tcpAck = 1 << 4
)

// flagTest is --tcp-flags: which flags to look at, which of them must be set.
type flagTest struct {
	set, inverted bool
	mask, want    uint8
}

func (t *flagTest) read(inverted bool, values []string) error {
	if t.set {
		return errors.New("--tcp-flags and --syn do not go together")
	}
	mask, err := parseTCPFlags(values[0])
	if err != nil {
		return err
	}
	want, err := parseTCPFlags(values[1])
	if err != nil {
		return err
	}
	*t = flagTest{set: true, inverted: inverted, mask: mask, want: want}
	return nil
}

func parseTCPFlags(list string) (uint8, error) {
	flags := uint8(0)
	for name := range strings.SplitSeq(list, ",") {
		bits := uint8(0)
		switch name {
		case "ALL":
			bits = 1<<len(tcpFlagNames) - 1
		case "NONE":
			continue
		}
		for i, known := range tcpFlagNames {
			if name == known {
				bits = 1 << i
			}
		}
		if bits == 0 {
			return 0, fmt.Errorf("unknown TCP flag %q", name)
		}
		flags |= bits
	}
	return flags, nil
}

func (t *flagTest) matches(flags uint8) bool {
	return !t.set || (flags&t.mask == t.want) != t.inverted
}

func (t *flagTest) text() string {
	if !t.set {
		return ""
	}
	return optionText(t.inverted, "--tcp-flags", tcpFlagText(t.mask)+" "+tcpFlagText(t.want))
}

func tcpFlagText(flags uint8) string {
	if flags == 0 {
		return "NONE"
	}
	var names []string
	for i, name := range tcpFlagNames {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
