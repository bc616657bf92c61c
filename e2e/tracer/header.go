package tracer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// header is the part of a rule that needs no match extension.
type header struct {
	src, dst networkTest
	in, out  ifaceTest
	proto    protoTest
}

func (h *header) options(env *ruleEnv) []option {
	return []option{
		invertibleOpt("-s --source --src", 1, h.src.setter(env)),
		invertibleOpt("-d --destination --dst", 1, h.dst.setter(env)),
		invertibleOpt("-i --in-interface", 1, h.in.set),
		invertibleOpt("-o --out-interface", 1, h.out.set),
		invertibleOpt("-p --protocol --proto", 1, h.proto.read),
		opt("-c --set-counters", 2, func(_ bool, values []string) error {
			for _, v := range values {
				if _, err := parseNumber(v, 64); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// fits refuses interfaces that a built-in chain does not know of.
func (h *header) fits(chain string) error {
	switch chain {
	case "PREROUTING", "INPUT":
		if h.out.name != "" {
			return fmt.Errorf("-o is of no use in %s", chain)
		}
	case "OUTPUT", "POSTROUTING":
		if h.in.name != "" {
			return fmt.Errorf("-i is of no use in %s", chain)
		}
	}
	return nil
}

func (h *header) matches(w *walk, f *flight) bool {
	return (!h.proto.set || (w.proto == h.proto.number) != h.proto.inverted) &&
		h.dst.matches(f.dst.Addr()) && h.src.matches(f.src.Addr()) &&
		(h.in.name == "" || h.in.matches(w.in)) &&
		(h.out.name == "" || h.out.matches(w.outInterface(f)))
}

func (h *header) text() string {
	var b strings.Builder
	b.WriteString(h.src.text("-s"))
	b.WriteString(h.dst.text("-d"))
	b.WriteString(h.in.text("-i"))
	b.WriteString(h.out.text("-o"))
	if h.proto.set {
		b.WriteString(optionText(h.proto.inverted, "-p", protocolName(h.proto.number)))
	}
	return b.String()
}

// optionText writes " [! ]NAME VALUE".
func optionText(inverted bool, name, value string) string {
	if inverted {
		return " ! " + name + " " + value
	}
	return " " + name + " " + value
}

// networkTest is -s or -d.
type networkTest struct {
	set, inverted bool
	net           network
}

func (t *networkTest) setter(env *ruleEnv) func(bool, []string) error {
	return func(inverted bool, values []string) error {
		n, err := env.family.parseNetwork(values[0])
		if err != nil {
			return err
		}
		// iptables-save does not write a network that is everything.
		*t = networkTest{set: inverted || !n.whole(), inverted: inverted, net: n}
		return nil
	}
}

func (t *networkTest) matches(a netip.Addr) bool {
	return !t.set || t.net.contains(a) != t.inverted
}

func (t *networkTest) text(name string) string {
	if !t.set {
		return ""
	}
	return optionText(t.inverted, name, t.net.String())
}

// maxIface is the longest interface name.
const maxIface = 15

// ifaceTest is -i or -o; a + at the end stands for any ending.
type ifaceTest struct {
	name     string
	inverted bool
}

func (t *ifaceTest) set(inverted bool, values []string) error {
	name := values[0]
	if err := checkName("interface name", name, maxIface); err != nil {
		return err
	}
	switch {
	case name == "+" && inverted:
		return errors.New("no interface at all would match, and iptables-save forgets it")
	case name == "+":
		return nil
	}
	*t = ifaceTest{name: name, inverted: inverted}
	return nil
}

func (t *ifaceTest) matches(name string) bool {
	return matchIface(t.name, name) != t.inverted
}

func (t *ifaceTest) text(option string) string {
	if t.name == "" {
		return ""
	}
	return optionText(t.inverted, option, t.name)
}

func matchIface(pattern, name string) bool {
	if start, wild := strings.CutSuffix(pattern, "+"); wild {
		return strings.HasPrefix(name, start)
	}
	return pattern == name
}

// protoTest is -p.
type protoTest struct {
	set, inverted bool
	number        uint8
}

func (t *protoTest) read(inverted bool, values []string) error {
	n, err := parseProtocol(values[0])
	if err != nil {
		return err
	}
	if n == anyProtocol && inverted {
		return errors.New("no packet at all would match")
	}
	*t = protoTest{set: n != anyProtocol, inverted: inverted, number: n}
	return nil
}

// is says whether only packets of the named protocol get past the header.
func (t *protoTest) is(name string) bool {
	return t.set && !t.inverted && protocolNames[t.number] == name
}

// withPorts says whether only packets of one protocol with ports get past.
func (t *protoTest) withPorts() bool {
	return t.set && !t.inverted && hasPorts(t.number)
}
