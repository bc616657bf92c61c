package tracer

import "errors"

// physdevMatch is -m physdev: the ports of a bridge a packet crosses.
type physdevMatch struct {
	in, out              ifaceTest
	isIn, isOut, bridged presence
}

// presence is a condition without a value, which may be inverted.
type presence struct{ set, inverted bool }

func (p *presence) read(inverted bool, _ []string) error {
	*p = presence{set: true, inverted: inverted}
	return nil
}

func (p presence) matches(is bool) bool { return !p.set || is != p.inverted }

func (p presence) text(name string) string {
	switch {
	case !p.set:
		return ""
	case p.inverted:
		return " ! " + name
	}
	return " " + name
}

func (m *physdevMatch) name() string { return "physdev" }

func (m *physdevMatch) options(*ruleEnv) []option {
	return []option{
		invertibleOpt("--physdev-in", 1, m.in.set),
		invertibleOpt("--physdev-is-in", 0, m.isIn.read),
		invertibleOpt("--physdev-out", 1, m.out.set),
		invertibleOpt("--physdev-is-out", 0, m.isOut.read),
		invertibleOpt("--physdev-is-bridged", 0, m.bridged.read),
	}
}

func (m *physdevMatch) check(*rule) error {
	if m.in.name == "" && m.out.name == "" && !m.isIn.set && !m.isOut.set && !m.bridged.set {
		return errors.New("no condition given")
	}
	return nil
}

func (m *physdevMatch) matches(w *walk, _ *flight) bool {
	in, out := w.packet.PhysIn, w.packet.PhysOut
	return (m.in.name == "" || m.in.matches(in)) && (m.out.name == "" || m.out.matches(out)) &&
		m.isIn.matches(in != "") && m.isOut.matches(out != "") &&
		m.bridged.matches(in != "" && out != "")
}

func (m *physdevMatch) text(family) string {
	return m.isIn.text("--physdev-is-in") + m.in.text("--physdev-in") +
		m.isOut.text("--physdev-is-out") + m.out.text("--physdev-out") +
		m.bridged.text("--physdev-is-bridged")
}
