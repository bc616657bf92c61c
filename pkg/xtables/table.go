package xtables

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// tables lists all that there are, in the order in which they are written: the reverse of the order in which a packet meets them, so
// that what a table makes of a packet is there before another table leads the packet to it.
var tables = []string{"security", "filter", "nat", "mangle", "raw"}

func compareTables(x, y string) int {
	return cmp.Or(cmp.Compare(slices.Index(tables, x), slices.Index(tables, y)), strings.Compare(x, y))
}

// eitherTable lists the tables that one or the other names.
func eitherTable[X, Y any](x map[string]X, y map[string]Y) []string {
	list := slices.AppendSeq(slices.Collect(maps.Keys(x)), maps.Keys(y))
	slices.SortFunc(list, compareTables)
	return slices.Compact(list)
}
