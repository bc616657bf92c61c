package tracer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxMultiports is how many ports the kernel has room for; a range takes two.
const maxMultiports = 15

// multiportMatch is -m multiport.
type multiportMatch struct {
	which    string // --sports, --dports or --ports (either of the two)
	inverted bool
	ranges   []portRange
}

func (m *multiportMatch) name() string { return "multiport" }

func (m *multiportMatch) options(*ruleEnv) []option {
	return []option{
		invertibleOpt("--sports --source-ports", 1, m.reader("--sports")),
		invertibleOpt("--dports --destination-ports", 1, m.reader("--dports")),
		invertibleOpt("--ports", 1, m.reader("--ports")),
	}
}

func (m *multiportMatch) reader(which string) func(bool, []string) error {
	return func(inverted bool, values []string) error {
		if m.which != "" {
			return fmt.Errorf("does not go together with %s", m.which)
		}
		m.which, m.inverted = which, inverted
		room := maxMultiports
		for item := range strings.SplitSeq(values[0], ",") {
			low, high, ranged := strings.Cut(item, ":")
			if low == "" || ranged && high == "" {
				return fmt.Errorf("%q is not a port or range", item)
			}
			r, err := parsePortRange(item)
			if err != nil {
				return err
			}
			room--
			if ranged {
				room--
				if r.low == r.high {
					return fmt.Errorf("range %q is a single port", item)
				}
			}
			m.ranges = append(m.ranges, r)
		}
		if room < 0 {
			return fmt.Errorf("more than %d ports", maxMultiports)
		}
		return nil
	}
}

func (m *multiportMatch) check(r *rule) error {
	if !r.header.proto.withPorts() {
		return errors.New("needs -p with a protocol that has ports")
	}
	if m.which == "" {
		return errors.New("no ports given")
	}
	return nil
}

func (m *multiportMatch) matches(_ *walk, f *flight) bool {
	src, dst := f.src.Port(), f.dst.Port()
	found := slices.ContainsFunc(m.ranges, func(r portRange) bool {
		return m.which != "--dports" && r.contains(src) || m.which != "--sports" && r.contains(dst)
	})
	return found != m.inverted
}

func (m *multiportMatch) text(family) string {
	texts := make([]string, len(m.ranges))
	for i, r := range m.ranges {
		texts[i] = r.String()
	}
	return optionText(m.inverted, m.which, strings.Join(texts, ","))
}
