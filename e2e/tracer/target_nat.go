package tracer

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// natFlags are the options of NAT targets that choose among several addresses
// or ports. A trace has no choice to make, so they are only kept.
type natFlags struct{ random, randomFully, persistent bool }

func (n *natFlags) options() []option {
	return []option{
		flag("--random", &n.random), flag("--random-fully", &n.randomFully), flag("--persistent", &n.persistent),
	}
}

func (n *natFlags) text() string {
	text := ""
	if n.random {
		text += " --random"
	}
	if n.randomFully {
		text += " --random-fully"
	}
	if n.persistent {
		text += " --persistent"
	}
	return text
}

// natAddress is what follows --to-destination and --to-source: an address, a
// port or both.
type natAddress struct {
	set  bool
	addr netip.Addr // not valid if there is only a port
	port uint16     // 0 if there is only an address
}

func (n *natAddress) reader(env *ruleEnv) func(bool, []string) error {
	return func(_ bool, values []string) error {
		host, port := splitNATAddress(values[0])
		n.set = true
		if host == "" && port == "" {
			return errors.New("neither address nor port")
		}
		if host != "" {
			a, err := env.family.parseAddr(host)
			if err != nil {
				return err
			}
			n.addr = a
		}
		if port == "" {
			return nil
		}
		p, err := parseNumber(port, 16)
		if err != nil || p == 0 {
			return fmt.Errorf("%q is not a port", port)
		}
		n.port = uint16(p)
		return nil
	}
}

// splitNATAddress cuts ADDR, ADDR:PORT, :PORT, [V6] and [V6]:PORT. What does
// not fit comes back as a host that is no address.
func splitNATAddress(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		host, rest, closed := strings.Cut(s[1:], "]")
		if !closed || host == "" || rest != "" && !strings.HasPrefix(rest, ":") || rest == ":" {
			return s, ""
		}
		return host, strings.TrimPrefix(rest, ":")
	}
	if strings.Count(s, ":") != 1 {
		return s, ""
	}
	host, port, _ = strings.Cut(s, ":")
	if port == "" {
		return s, ""
	}
	return host, port
}

func (n *natAddress) check(r *rule) error {
	if !n.set {
		return errors.New("the new address is missing")
	}
	if n.port != 0 && !r.header.proto.withPorts() {
		return errors.New("a port needs -p with a protocol that has ports")
	}
	return nil
}

// over puts the new address or port over the old ones.
func (n *natAddress) over(old netip.AddrPort) netip.AddrPort {
	addr, port := old.Addr(), old.Port()
	if n.addr.IsValid() {
		addr = n.addr
	}
	if n.port != 0 {
		port = n.port
	}
	return netip.AddrPortFrom(addr, port)
}

func (n *natAddress) String() string {
	switch {
	case !n.addr.IsValid():
		return fmt.Sprintf(":%d", n.port)
	case n.port == 0:
		return n.addr.String()
	}
	return netip.AddrPortFrom(n.addr, n.port).String()
}

// dnatTarget is -j DNAT.
type dnatTarget struct {
	to natAddress
	natFlags
}

func (t *dnatTarget) name() string { return "DNAT" }

func (t *dnatTarget) limits() limits {
	return limits{tables: []string{"nat"}, hooks: []string{"PREROUTING", "OUTPUT"}}
}

func (t *dnatTarget) options(env *ruleEnv) []option {
	// DNAT knows no --random-fully.
	return []option{
		opt("--to-destination", 1, t.to.reader(env)),
		flag("--random", &t.random), flag("--persistent", &t.persistent),
	}
}

func (t *dnatTarget) check(r *rule) error { return t.to.check(r) }

func (t *dnatTarget) apply(_ *walk, f *flight) (verdict, error) {
	f.dst, f.dnat = t.to.over(f.dst), true
	return verdictAccept, nil
}

func (t *dnatTarget) text(family) string {
	return " --to-destination " + t.to.String() + t.natFlags.text()
}

// snatTarget is -j SNAT.
type snatTarget struct {
	to natAddress
	natFlags
}

func (t *snatTarget) name() string { return "SNAT" }

func (t *snatTarget) limits() limits {
	return limits{tables: []string{"nat"}, hooks: []string{"POSTROUTING", "INPUT"}}
}

func (t *snatTarget) options(env *ruleEnv) []option {
	return append(t.natFlags.options(), opt("--to-source", 1, t.to.reader(env)))
}

func (t *snatTarget) check(r *rule) error { return t.to.check(r) }

func (t *snatTarget) apply(_ *walk, f *flight) (verdict, error) {
	f.src, f.masquerade = t.to.over(f.src), true
	f.snat = f.src.Addr()
	return verdictAccept, nil
}

func (t *snatTarget) text(family) string {
	return " --to-source " + t.to.String() + t.natFlags.text()
}

// portsOption is --to-ports of MASQUERADE and REDIRECT: a port or LOW-HIGH.
type portsOption struct{ low, high uint16 }

func (p *portsOption) read(_ bool, values []string) error {
	low, high, ranged := strings.Cut(values[0], "-")
	if !ranged {
		high = low
	}
	r, err := parsePortRange(low + ":" + high)
	if err == nil && (low == "" || high == "" || r.low == 0) {
		err = fmt.Errorf("%q is not a port or range", values[0])
	}
	p.low, p.high = r.low, r.high
	return err
}

func (p *portsOption) check(r *rule) error {
	if p.low != 0 && !r.header.proto.withPorts() {
		return errors.New("a port needs -p with a protocol that has ports")
	}
	return nil
}

func (p *portsOption) text() string {
	switch p.low {
	case 0:
		return ""
	case p.high:
		return " --to-ports " + strconv.Itoa(int(p.low))
	}
	return fmt.Sprintf(" --to-ports %d-%d", p.low, p.high)
}

// masqueradeTarget is -j MASQUERADE. Which address the source becomes is the
// matter of the outgoing interface, so the trace leaves it as it is.
type masqueradeTarget struct {
	ports portsOption
	natFlags
}

func (t *masqueradeTarget) name() string { return "MASQUERADE" }

func (t *masqueradeTarget) limits() limits {
	return limits{tables: []string{"nat"}, hooks: []string{"POSTROUTING"}}
}

func (t *masqueradeTarget) options(*ruleEnv) []option {
	return []option{
		opt("--to-ports", 1, t.ports.read),
		flag("--random", &t.random), flag("--random-fully", &t.randomFully),
	}
}

func (t *masqueradeTarget) check(r *rule) error { return t.ports.check(r) }

func (t *masqueradeTarget) apply(_ *walk, f *flight) (verdict, error) {
	f.masquerade = true
	return verdictAccept, nil
}

func (t *masqueradeTarget) text(family) string { return t.ports.text() + t.natFlags.text() }

// redirectTarget is -j REDIRECT.
type redirectTarget struct {
	ports portsOption
	natFlags
}

func (t *redirectTarget) name() string { return "REDIRECT" }

func (t *redirectTarget) limits() limits {
	return limits{tables: []string{"nat"}, hooks: []string{"PREROUTING", "OUTPUT"}}
}

func (t *redirectTarget) options(*ruleEnv) []option {
	return []option{opt("--to-ports", 1, t.ports.read), flag("--random", &t.random)}
}

func (t *redirectTarget) check(r *rule) error { return t.ports.check(r) }

// apply sends what the node itself sent to loopback. A packet from elsewhere
// goes to an address of its interface, and those a trace does not know.
func (t *redirectTarget) apply(w *walk, f *flight) (verdict, error) {
	if !w.packet.FromNode {
		return 0, errors.New("REDIRECT of a packet from outside is not supported")
	}
	if t.ports.low != t.ports.high {
		return 0, errors.New("REDIRECT to a range of ports is not supported")
	}
	addr, port := netip.AddrFrom4([4]byte{127, 0, 0, 1}), f.dst.Port()
	if f.dst.Addr().Is6() {
		addr = netip.IPv6Loopback()
	}
	if t.ports.low != 0 {
		port = t.ports.low
	}
	f.dst, f.dnat = netip.AddrPortFrom(addr, port), true
	return verdictAccept, nil
}

func (t *redirectTarget) text(family) string { return t.ports.text() + t.natFlags.text() }
