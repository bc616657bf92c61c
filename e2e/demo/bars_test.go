package main

import (
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	long := strings.Repeat("█", barWidth)
	half := strings.Repeat("█", barWidth/2)
	tests := []struct {
		name  string
		chart chart
		want  []string
	}{
		{"the longest bar fills its column", chart{[]string{"one", "two"}, []column{{"way", []int{100, 50}}}}, []string{
			"         way",
			"   one   100 " + long,
			"   two    50 " + half,
		}},
		{"nothing has no bar, and little has a short one", chart{[]string{"all", "one", "none"}, []column{{"way", []int{1000, 1, 0}}}}, []string{
			"          way",
			"   all    1000 " + long,
			"   one       1 █",
			"   none      0",
		}},
		{"only zeros", chart{[]string{"none"}, []column{{"way", []int{0}}}}, []string{
			"          way",
			"   none   0",
		}},
		{"each column has its own scale, and they stand below their heads",
			chart{[]string{"one", "two"}, []column{{"first", []int{4, 2}}, {"a second one, with a head that is wider than its bars", []int{10, 20}}, {"third", []int{1, 1}}}}, []string{
				"         first                        a second one, with a head that is wider than its bars   third",
				"   one   4 " + long + "   10 " + half + strings.Repeat(" ", 38) + "   1 " + long,
				"   two   2 " + half + strings.Repeat(" ", 12) + "   20 " + long + strings.Repeat(" ", 26) + "   1 " + long,
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := strings.Join(test.want, "\n")
			if got := test.chart.String(); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
