package tracer

import (
	"errors"
	"fmt"
	"slices"
)

// verdict says how a packet goes on after a rule that matched.
type verdict uint8

const (
	verdictNext   verdict = iota // with the next rule
	verdictReturn                // in the calling chain
	verdictAccept                // in the next table
	verdictDrop                  // not at all
	verdictReject                // not at all, and the sender is told
)

// targetKinds makes the targets by the name that follows -j.
var targetKinds = map[string]func() target{
	"ACCEPT":     func() target { return &plainTarget{word: "ACCEPT", verdict: verdictAccept} },
	"DROP":       func() target { return &dropTarget{} },
	"RETURN":     func() target { return &plainTarget{word: "RETURN", verdict: verdictReturn} },
	"REJECT":     func() target { return &rejectTarget{} },
	"MARK":       func() target { return &markTarget{} },
	"DNAT":       func() target { return &dnatTarget{} },
	"REDIRECT":   func() target { return &redirectTarget{} },
	"SNAT":       func() target { return &snatTarget{} },
	"MASQUERADE": func() target { return &masqueradeTarget{} },
	"NOTRACK":    func() target { return &notrackTarget{old: true} },
	"CT":         func() target { return &notrackTarget{} },
	"LOG":        func() target { return &logTarget{level: logWarning} },
	"TCPMSS":     func() target { return &tcpmssTarget{} },
}

// plainTarget is a verdict without options: ACCEPT or RETURN.
type plainTarget struct {
	word    string
	verdict verdict
}

func (t *plainTarget) name() string { return t.word }

func (t *plainTarget) options(*ruleEnv) []option { return nil }

func (t *plainTarget) check(*rule) error { return nil }

func (t *plainTarget) apply(*walk, *flight) (verdict, error) { return t.verdict, nil }

func (t *plainTarget) text(family) string { return "" }

// dropTarget is -j DROP, which iptables does not let into the nat table.
type dropTarget struct{ inNAT bool }

func (t *dropTarget) name() string { return "DROP" }

func (t *dropTarget) options(env *ruleEnv) []option {
	t.inNAT = env.table == "nat"
	return nil
}

func (t *dropTarget) check(*rule) error {
	if t.inNAT {
		return errNoFilterInNAT
	}
	return nil
}

func (t *dropTarget) apply(*walk, *flight) (verdict, error) { return verdictDrop, nil }

func (t *dropTarget) text(family) string { return "" }

// rejectTarget is -j REJECT.
type rejectTarget struct{ with string } // empty for port-unreachable

var rejectKinds = map[family][]string{
	familyIPv4: {
		"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable",
		"icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited",
	},
	familyIPv6: {
		"icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable",
		"icmp6-policy-fail", "icmp6-reject-route",
	},
}

func (t *rejectTarget) name() string { return "REJECT" }

func (t *rejectTarget) limits() limits {
	return limits{tables: []string{"filter"}, hooks: []string{"INPUT", "FORWARD", "OUTPUT"}}
}

func (t *rejectTarget) options(env *ruleEnv) []option {
	return []option{opt("--reject-with", 1, func(_ bool, values []string) error {
		with := values[0]
		if with == "tcp-reset" {
			t.with = with
			return nil
		}
		for f, kinds := range rejectKinds {
			if !slices.Contains(kinds, with) {
				continue
			}
			if with != "icmp-port-unreachable" && with != "icmp6-port-unreachable" {
				t.with = with
			}
			return env.family.settle(f)
		}
		return fmt.Errorf("unknown kind %q", with)
	})}
}

func (t *rejectTarget) check(r *rule) error {
	if t.with == "tcp-reset" && !r.header.proto.is("tcp") {
		return errors.New("tcp-reset needs -p tcp")
	}
	return nil
}

func (t *rejectTarget) apply(*walk, *flight) (verdict, error) { return verdictReject, nil }

func (t *rejectTarget) variesByFamily() bool { return t.with == "" }

func (t *rejectTarget) text(f family) string {
	switch {
	case t.with != "":
		return " --reject-with " + t.with
	case f == familyIPv6:
		return " --reject-with icmp6-port-unreachable"
	}
	return " --reject-with icmp-port-unreachable"
}

// notrackTarget is -j NOTRACK or -j CT --notrack: no connection is made for
// the packet, and so no NAT.
type notrackTarget struct{ old, given bool }

func (t *notrackTarget) name() string {
	if t.old {
		return "NOTRACK"
	}
	return "CT"
}

func (t *notrackTarget) limits() limits { return limits{tables: []string{"raw"}} }

func (t *notrackTarget) options(*ruleEnv) []option {
	if t.old {
		return nil
	}
	return []option{flag("--notrack", &t.given)}
}

func (t *notrackTarget) check(*rule) error {
	if !t.old && !t.given {
		return errors.New("only --notrack is supported, and it is missing")
	}
	return nil
}

func (t *notrackTarget) apply(_ *walk, f *flight) (verdict, error) {
	f.untracked = true
	return verdictNext, nil
}

func (t *notrackTarget) text(family) string {
	if t.old {
		return ""
	}
	return " --notrack"
}
