package service

import "fmt"

// Problem is something in an API object that cannot be served as it stands. The rest of the object is served all the same.
type Problem struct {
	Object string // kind, namespace and name: "Service default/web"
	What   string // what is wrong
	Mend   string // what to do about it
}

// String returns the problem as one sentence.
func (p Problem) String() string { return fmt.Sprintf("%s: %s; %s", p.Object, p.What, p.Mend) }
