package tracer

import (
	"errors"
	"fmt"
	"strings"
)

// setMatch is -m set. The set itself comes from Ruleset.Sets.
type setMatch struct {
	set      string
	inverted bool
	dims     []string // "src" or "dst" for the address and then the port
}

func (m *setMatch) name() string { return "set" }

func (m *setMatch) options(*ruleEnv) []option {
	return []option{invertibleOpt("--match-set", 2, func(inverted bool, values []string) error {
		m.set, m.inverted, m.dims = values[0], inverted, strings.Split(values[1], ",")
		if len(m.dims) > 2 {
			return errors.New("sets of more than an address and a port are not supported")
		}
		for _, d := range m.dims {
			if d != "src" && d != "dst" {
				return fmt.Errorf("%q is neither src nor dst", d)
			}
		}
		return checkName("set name", m.set, 31)
	})}
}

func (m *setMatch) check(*rule) error {
	if m.set == "" {
		return errors.New("--match-set is missing")
	}
	return nil
}

func (m *setMatch) matches(w *walk, f *flight) bool {
	holds, ok := w.rs.Sets[m.set]
	if !ok {
		w.fail(fmt.Errorf("there is no set %s", m.set))
		return false
	}
	address, port := f.dst, f.dst
	if m.dims[0] == "src" {
		address = f.src
	}
	if m.dims[len(m.dims)-1] == "src" {
		port = f.src
	}
	return holds(address.Addr(), port.Port(), w.packet.Protocol) != m.inverted
}

func (m *setMatch) text(family) string {
	return optionText(m.inverted, "--match-set", m.set+" "+strings.Join(m.dims, ","))
}
