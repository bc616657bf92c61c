package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// barWidth is the length of a column's longest bar.
const barWidth = 24

// chart is a table of counts with a bar each.
type chart struct {
	rows    []string // what the counts are of
	columns []column
}

type column struct {
	head   string
	counts []int // one for each row
}

// String draws the chart, each column to a scale of its own.
func (c chart) String() string {
	lines := slices.Concat([]string{""}, c.rows)
	pad(lines)
	for _, col := range c.columns {
		cells := slices.Concat([]string{col.head}, bars(col.counts))
		pad(cells)
		for i := range lines {
			lines[i] += "   " + cells[i]
		}
	}
	for i := range lines {
		lines[i] = "   " + strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// bars shows each count by its number and a bar. A count that is not zero has a bar, however short.
func bars(counts []int) []string {
	most := slices.Max(slices.Concat([]int{1}, counts))
	digits := len(fmt.Sprint(most))
	var all []string
	for _, n := range counts {
		length := (n*barWidth + most/2) / most
		if n > 0 {
			length = max(length, 1)
		}
		all = append(all, fmt.Sprintf("%*d %s", digits, n, strings.Repeat("█", length)))
	}
	return all
}

// pad makes all texts as wide as the widest.
func pad(texts []string) {
	widest := 0
	for _, t := range texts {
		widest = max(widest, utf8.RuneCountInString(t))
	}
	for i, t := range texts {
		texts[i] += strings.Repeat(" ", widest-utf8.RuneCountInString(t))
	}
}
