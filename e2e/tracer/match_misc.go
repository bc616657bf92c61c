package tracer

import (
	"errors"
	"fmt"
)

// maxComment is the longest comment the kernel has room for. iptables silently
// cuts off the rest.
const maxComment = 255

// commentMatch is -m comment; it always matches.
type commentMatch struct {
	set     bool
	comment string
}

func (m *commentMatch) name() string { return "comment" }

func (m *commentMatch) options(*ruleEnv) []option {
	return []option{opt("--comment", 1, func(_ bool, values []string) error {
		m.set, m.comment = true, values[0]
		if len(m.comment) > maxComment {
			return fmt.Errorf("longer than %d bytes", maxComment)
		}
		return nil
	})}
}

func (m *commentMatch) check(*rule) error {
	if !m.set {
		return errors.New("--comment is missing")
	}
	return nil
}

func (m *commentMatch) matches(*walk, *flight) bool { return true }

func (m *commentMatch) text(family) string { return " --comment " + quoteWord(m.comment) }

// markMatch is -m mark.
type markMatch struct {
	set, inverted bool
	value, mask   uint32
}

func (m *markMatch) name() string { return "mark" }

func (m *markMatch) options(*ruleEnv) []option {
	return []option{invertibleOpt("--mark", 1, func(inverted bool, values []string) error {
		value, mask, err := parseMarkMask(values[0])
		*m = markMatch{set: true, inverted: inverted, value: value, mask: mask}
		return err
	})}
}

func (m *markMatch) check(*rule) error {
	if !m.set {
		return errors.New("--mark is missing")
	}
	return nil
}

// matches compares with the whole value: one outside of its mask never matches.
func (m *markMatch) matches(_ *walk, f *flight) bool {
	return (f.mark&m.mask == m.value) != m.inverted
}

func (m *markMatch) text(family) string {
	text := fmt.Sprintf("0x%x", m.value)
	if m.mask != allBits {
		text += fmt.Sprintf("/0x%x", m.mask)
	}
	return optionText(m.inverted, "--mark", text)
}

// nfacctMatch is -m nfacct; it counts and always matches.
type nfacctMatch struct{ counter string }

func (m *nfacctMatch) name() string { return "nfacct" }

func (m *nfacctMatch) options(*ruleEnv) []option {
	return []option{opt("--nfacct-name", 1, func(_ bool, values []string) error {
		m.counter = values[0]
		return checkName("counter name", m.counter, 31)
	})}
}

func (m *nfacctMatch) check(*rule) error {
	if m.counter == "" {
		return errors.New("--nfacct-name is missing")
	}
	return nil
}

func (m *nfacctMatch) matches(*walk, *flight) bool { return true }

func (m *nfacctMatch) text(family) string { return " --nfacct-name " + quoteWord(m.counter) }

// rpfilterMatch is -m rpfilter. Every packet is taken to have come the way its
// answer will go, so the plain match is true and the inverted one is not.
type rpfilterMatch struct{ loose, validmark, acceptLocal, invert bool }

func (m *rpfilterMatch) name() string { return "rpfilter" }

func (m *rpfilterMatch) limits() limits {
	return limits{tables: []string{"raw", "mangle"}, hooks: []string{"PREROUTING"}}
}

func (m *rpfilterMatch) options(*ruleEnv) []option {
	return []option{
		flag("--loose", &m.loose), flag("--validmark", &m.validmark),
		flag("--accept-local", &m.acceptLocal), flag("--invert", &m.invert),
	}
}

func (m *rpfilterMatch) check(*rule) error { return nil }

func (m *rpfilterMatch) matches(*walk, *flight) bool { return !m.invert }

func (m *rpfilterMatch) text(family) string {
	text := ""
	if m.loose {
		text += " --loose"
	}
	if m.validmark {
		text += " --validmark"
	}
	if m.acceptLocal {
		text += " --accept-local"
	}
	if m.invert {
		text += " --invert"
	}
	return text
}
