package tracer

import (
	"errors"
	"fmt"
)

// tcpmssTarget is -j TCPMSS; it changes nothing a trace shows.
type tcpmssTarget struct {
	clamp bool
	mss   uint64
}

func (t *tcpmssTarget) name() string { return "TCPMSS" }

func (t *tcpmssTarget) limits() limits {
	if t.clamp {
		return limits{hooks: []string{"FORWARD", "OUTPUT", "POSTROUTING"}}
	}
	return limits{}
}

func (t *tcpmssTarget) options(*ruleEnv) []option {
	return []option{
		flag("--clamp-mss-to-pmtu", &t.clamp),
		opt("--set-mss", 1, func(_ bool, values []string) error {
			n, err := parseNumber(values[0], 16)
			t.mss = n
			return err
		}),
	}
}

// check wants to see a SYN in the rule, as legacy does.
func (t *tcpmssTarget) check(r *rule) error {
	if t.clamp == (t.mss != 0) {
		return errors.New("want one of --clamp-mss-to-pmtu and --set-mss")
	}
	for _, m := range r.matches {
		if p, ok := m.(*portMatch); ok && p.flags.set && !p.flags.inverted && p.flags.want&p.flags.mask&tcpSyn != 0 {
			return nil
		}
	}
	return errors.New("needs -p tcp --syn")
}

func (t *tcpmssTarget) apply(*walk, *flight) (verdict, error) { return verdictNext, nil }

func (t *tcpmssTarget) text(family) string {
	if t.clamp {
		return " --clamp-mss-to-pmtu"
	}
	return fmt.Sprintf(" --set-mss %d", t.mss)
}
