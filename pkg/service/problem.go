package service

import (
	"fmt"
	"strconv"
)

// Problem is something in an API object that cannot be served as it stands. The rest of the object is served all the same.
type Problem struct {
	Object string // kind, namespace and name: "Service default/web"
	What   string // what is wrong
	Mend   string // what to do about it
}

// String returns the problem as one sentence.
func (p Problem) String() string { return fmt.Sprintf("%s: %s; %s", p.Object, p.What, p.Mend) }

// The bounds on what is said about one object. Whoever writes an object decides what is wrong with it, and how often.
const (
	maxProblems = 10  // of one kind: of fields, or of addresses that other Services claim too
	maxQuoted   = 100 // bytes of a value
)

// problems are those of one object. Only the first ones are kept, the rest is counted.
type problems struct {
	object string
	list   []Problem
	more   int
}

// add notes a problem. Its text is formatted only if it is kept.
func (p *problems) add(mend, what string, args ...any) {
	if len(p.list) == maxProblems {
		p.more++
		return
	}
	p.list = append(p.list, Problem{Object: p.object, What: fmt.Sprintf(what, args...), Mend: mend})
}

// all returns the problems that are kept, and one that says how many are not.
func (p *problems) all() []Problem {
	if p.more == 0 {
		return p.list
	}
	return append(p.list[:len(p.list):len(p.list)], Problem{
		Object: p.object, What: fmt.Sprintf("and %d more problems", p.more), Mend: "correct those that are named first",
	})
}

// quoted formats as a quoted string, of which only the beginning is shown if it is long.
type quoted string

func (q quoted) String() string {
	if len(q) <= maxQuoted {
		return strconv.Quote(string(q))
	}
	return strconv.Quote(string(q[:maxQuoted])) + "..."
}
