package xtables

import (
	"fmt"
	"strings"
)

// Jump is a rule that leads from a chain of somebody else, mostly a built-in one, into one of an owner's.
type Jump struct {
	Table, From string
	Match       string // as iptables-save spells it; may be empty
	To          string
	Goto        bool // it does not come back; none of an owner's jumps is such
}

// builtin lists the chains that belong to nobody.
var builtin = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// rule is the jump without its chain.
func (j Jump) rule() string { return strings.TrimSpace(j.Match + " " + j.action() + j.To) }

// action is how a rule leads to a chain.
func (j Jump) action() string {
	if j.Goto {
		return "-g "
	}
	return "-j "
}

// String is the jump as iptables-save prints it.
func (j Jump) String() string { return "-A " + j.From + " " + j.rule() }

// gone is the jump as drift.
func (j Jump) gone() string {
	return fmt.Sprintf("%s %s: the jump to %s is gone", j.Table, j.From, j.To)
}
