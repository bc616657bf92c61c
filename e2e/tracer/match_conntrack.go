package tracer

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ctState is a set of connection states.
type ctState uint8

const (
	stateInvalid ctState = 1 << iota
	stateNew
	stateRelated
	stateEstablished
	stateUntracked
	stateSNAT // virtual: the source was translated
	stateDNAT // virtual: the destination was translated
)

// ctStateNames are in the order of the bits, which is also the order in which
// iptables-save writes them.
var ctStateNames = []string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"}

func parseStates(list string, known []string) (ctState, error) {
	states := ctState(0)
	for name := range strings.SplitSeq(list, ",") {
		bit := ctState(0)
		for i, n := range known {
			if strings.EqualFold(n, name) {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("unknown state %q", name)
		}
		states |= bit
	}
	return states, nil
}

func (s ctState) String() string {
	var names []string
	for i, name := range ctStateNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// stateTest is --ctstate or --state.
type stateTest struct {
	inverted bool
	states   ctState
}

func (t *stateTest) reader(known []string) func(bool, []string) error {
	return func(inverted bool, values []string) error {
		states, err := parseStates(values[0], known)
		*t = stateTest{inverted: inverted, states: states}
		return err
	}
}

func (t *stateTest) matches(s ctState) bool {
	return t.states == 0 || (s&t.states != 0) != t.inverted
}

// stateMatch is -m state, the older and smaller brother of -m conntrack.
type stateMatch struct{ state stateTest }

func (m *stateMatch) name() string { return "state" }

func (m *stateMatch) options(*ruleEnv) []option {
	// There are no virtual states here.
	return []option{invertibleOpt("--state", 1, m.state.reader(ctStateNames[:5]))}
}

func (m *stateMatch) check(*rule) error {
	if m.state.states == 0 {
		return errors.New("--state is missing")
	}
	return nil
}

func (m *stateMatch) matches(w *walk, f *flight) bool { return m.state.matches(w.ctState(f)) }

func (m *stateMatch) text(family) string {
	return optionText(m.state.inverted, "--state", m.state.states.String())
}

// conntrackMatch is -m conntrack.
type conntrackMatch struct {
	state            stateTest
	proto            protoTest
	origSrc, origDst origAddrTest
	srcPort, dstPort origPortTest
}

func (m *conntrackMatch) name() string { return "conntrack" }

func (m *conntrackMatch) options(env *ruleEnv) []option {
	return []option{
		invertibleOpt("--ctstate", 1, m.state.reader(ctStateNames)),
		invertibleOpt("--ctproto", 1, m.proto.read),
		invertibleOpt("--ctorigsrc", 1, m.origSrc.reader(env)),
		invertibleOpt("--ctorigdst", 1, m.origDst.reader(env)),
		invertibleOpt("--ctorigsrcport", 1, m.srcPort.read),
		invertibleOpt("--ctorigdstport", 1, m.dstPort.read),
	}
}

func (m *conntrackMatch) check(*rule) error {
	if m.state.states == 0 && !m.needsConnection() {
		return errors.New("no condition given")
	}
	return nil
}

// needsConnection says whether there is a condition on the connection itself.
func (m *conntrackMatch) needsConnection() bool {
	return m.proto.set || m.origSrc.set || m.origDst.set || m.srcPort.set || m.dstPort.set
}

func (m *conntrackMatch) matches(w *walk, f *flight) bool {
	state := w.ctState(f)
	if !m.state.matches(state) {
		return false
	}
	// Without a connection the kernel stops here: the state alone decides,
	// and without --ctstate nothing matches, not even inverted conditions.
	if state&(stateInvalid|stateUntracked) != 0 {
		return m.state.states != 0
	}
	p := &w.packet
	return (!m.proto.set || (w.proto == m.proto.number) != m.proto.inverted) &&
		m.origSrc.matches(p.Source.Addr()) && m.origDst.matches(p.Destination.Addr()) &&
		m.srcPort.matches(p.Source.Port()) && m.dstPort.matches(p.Destination.Port())
}

func (m *conntrackMatch) text(family) string {
	var b strings.Builder
	if m.state.states != 0 {
		b.WriteString(optionText(m.state.inverted, "--ctstate", m.state.states.String()))
	}
	if m.proto.set {
		// Here iptables-save writes the number, unlike after -p.
		b.WriteString(optionText(m.proto.inverted, "--ctproto", strconv.Itoa(int(m.proto.number))))
	}
	b.WriteString(m.origSrc.text("--ctorigsrc"))
	b.WriteString(m.origDst.text("--ctorigdst"))
	b.WriteString(m.srcPort.text("--ctorigsrcport"))
	b.WriteString(m.dstPort.text("--ctorigdstport"))
	return b.String()
}

// origAddrTest is --ctorigsrc or --ctorigdst.
type origAddrTest struct {
	set, inverted bool
	net           network
}

func (t *origAddrTest) reader(env *ruleEnv) func(bool, []string) error {
	return func(inverted bool, values []string) error {
		n, err := env.family.parseNetwork(values[0])
		if err != nil {
			return err
		}
		if !n.prefix.IsValid() {
			return errors.New("a mask with holes is forgotten by iptables-save")
		}
		*t = origAddrTest{set: true, inverted: inverted, net: n}
		return nil
	}
}

func (t *origAddrTest) matches(a netip.Addr) bool {
	return !t.set || t.net.contains(a) != t.inverted
}

// text writes a single address without a mask, unlike -s and -d.
func (t *origAddrTest) text(name string) string {
	switch {
	case !t.set:
		return ""
	case t.net.single():
		return optionText(t.inverted, name, t.net.addr.String())
	}
	return optionText(t.inverted, name, t.net.String())
}

// origPortTest is --ctorigsrcport or --ctorigdstport.
type origPortTest struct{ portTest }

func (t *origPortTest) read(inverted bool, values []string) error {
	ports, err := parsePortRange(values[0])
	// A range of all ports is kept, unlike in -m tcp.
	t.portTest = portTest{set: true, inverted: inverted, ports: ports}
	return err
}
