package xtables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// LegacyBuiltins returns a text that changes when a rule comes to a built-in chain of legacy iptables, or goes from one, and not with what
// other chains hold. It reads no rules and costs the same however many there are: the kernel tells where each built-in chain begins and
// where its policy stands, in bytes. It is empty where there are no tables, and makes none.
func LegacyBuiltins(f service.Family) (string, error) {
	var list []string
	err := eachTableInfo(f, func(name string, info tableInfo) error {
		text := name
		for hook := range info.entry {
			if info.hooks&(1<<hook) != 0 {
				text += fmt.Sprintf(" %d", info.underflow[hook]-info.entry[hook])
			}
		}
		list = append(list, text)
		return nil
	})
	slices.Sort(list)
	return strings.Join(list, ", "), err
}
