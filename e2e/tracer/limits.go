package tracer

import (
	"fmt"
	"slices"
)

// limits says where the kernel accepts an extension. Nothing named is no limit.
type limits struct {
	tables []string
	hooks  []string // the built-in chains from which it may be reached
}

// limited is an extension the kernel does not accept everywhere.
type limited interface{ limits() limits }

func (l limits) checkTable(table string) error {
	if l.tables != nil && !slices.Contains(l.tables, table) {
		return fmt.Errorf("not allowed in table %s", table)
	}
	return nil
}

func (l limits) checkHook(hook string) error {
	if l.hooks != nil && !slices.Contains(l.hooks, hook) {
		return fmt.Errorf("not allowed in what %s reaches", hook)
	}
	return nil
}
