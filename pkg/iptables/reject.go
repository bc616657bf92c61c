package iptables

import (
	"slices"
	"strings"
)

func compareRejects(x, y rejectEntry) int { return strings.Compare(string(x.key), string(y.key)) }

func sortRejects(list []rejectEntry) []rejectEntry {
	slices.SortFunc(list, compareRejects)
	return list
}

// union returns what is in either of two sorted lists; where both have a key, the entry of the first.
func union(first, second []rejectEntry) []rejectEntry {
	all := slices.Concat(first, second)
	slices.SortStableFunc(all, compareRejects)
	return slices.CompactFunc(all, func(x, y rejectEntry) bool { return x.key == y.key })
}
