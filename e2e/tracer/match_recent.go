package tracer

import (
	"errors"
	"fmt"
	"net/netip"
)

// recentMatch is -m recent. A trace has no history, so nothing was seen
// before: --set matches, all else does not.
type recentMatch struct {
	action            string
	inverted          bool
	seconds, hitcount uint64
	reap, rttl        bool
	list              string
	mask              netip.Addr // not valid if it is all ones
	rdest, rsource    bool
}

func (m *recentMatch) name() string { return "recent" }

func (m *recentMatch) options(env *ruleEnv) []option {
	options := []option{
		opt("--seconds", 1, countSetter(&m.seconds)),
		opt("--hitcount", 1, countSetter(&m.hitcount)),
		flag("--reap", &m.reap),
		flag("--rttl", &m.rttl),
		opt("--name", 1, func(_ bool, values []string) error {
			m.list = values[0]
			return checkName("list name", m.list, 199)
		}),
		opt("--mask", 1, func(_ bool, values []string) error {
			a, err := env.family.parseAddr(values[0])
			if err == nil && !maskNetwork(a, a.AsSlice()).single() {
				m.mask = a
			}
			return err
		}),
		flag("--rsource", &m.rsource),
		flag("--rdest", &m.rdest),
	}
	for _, action := range []string{"--set", "--rcheck", "--update", "--remove"} {
		options = append(options, invertibleOpt(action, 0, func(inverted bool, _ []string) error {
			if m.action != "" {
				return fmt.Errorf("does not go together with %s", m.action)
			}
			m.action, m.inverted = action, inverted
			return nil
		}))
	}
	return options
}

func countSetter(n *uint64) func(bool, []string) error {
	return func(_ bool, values []string) error {
		v, err := parseNumber(values[0], 32)
		if err == nil && v == 0 {
			err = errors.New("must not be 0")
		}
		*n = v
		return err
	}
}

func (m *recentMatch) check(*rule) error {
	checks := m.action == "--rcheck" || m.action == "--update"
	switch {
	case m.action == "":
		return errors.New("none of --set, --rcheck, --update and --remove is given")
	case !checks && (m.seconds != 0 || m.hitcount != 0 || m.rttl):
		return fmt.Errorf("%s takes no conditions", m.action)
	case m.reap && m.seconds == 0:
		return errors.New("--reap needs --seconds")
	case m.rsource && m.rdest:
		return errors.New("--rsource and --rdest do not go together")
	}
	if m.list == "" {
		m.list = "DEFAULT"
	}
	return nil
}

func (m *recentMatch) matches(*walk, *flight) bool { return (m.action == "--set") != m.inverted }

func (m *recentMatch) variesByFamily() bool { return !m.mask.IsValid() }

func (m *recentMatch) text(f family) string {
	text := " " + m.action
	if m.inverted {
		text = " ! " + m.action
	}
	if m.seconds != 0 {
		text += fmt.Sprintf(" --seconds %d", m.seconds)
	}
	if m.reap {
		text += " --reap"
	}
	if m.hitcount != 0 {
		text += fmt.Sprintf(" --hitcount %d", m.hitcount)
	}
	if m.rttl {
		text += " --rttl"
	}
	mask := "255.255.255.255"
	switch {
	case m.mask.IsValid():
		mask = m.mask.String()
	case f == familyIPv6:
		mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	text += " --name " + m.list + " --mask " + mask
	if m.rdest {
		return text + " --rdest"
	}
	return text + " --rsource"
}
