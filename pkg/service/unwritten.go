package service

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unwritten is the error of a sync that went well but for some service ports: the reason of each. Those are served as before, or not at
// all; every other service port is in the kernel as the Table says, and the ports named here are all that the next sync needs to write
// again.
type Unwritten map[PortName]error

// Error names the first service port, and how many there are.
func (u Unwritten) Error() string {
	names := slices.SortedFunc(maps.Keys(u), func(x, y PortName) int { return strings.Compare(x.String(), y.String()) })
	if len(names) == 0 {
		return "no service port is unwritten"
	}
	if more := len(names) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more service ports: %v", names[0], more, u[names[0]])
	}
	return fmt.Sprintf("%s: %v", names[0], u[names[0]])
}

// Unwrap returns the reasons.
func (u Unwritten) Unwrap() []error { return slices.Collect(maps.Values(u)) }
