package cases

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// TestOracle holds the oracle of a Table against the cases, one by one.
func TestOracle(t *testing.T) {
	for _, c := range All() {
		for _, family := range c.Families() {
			t.Run(fmt.Sprintf("%s/%s", c.Name, family), func(t *testing.T) {
				t.Parallel()
				cluster := newCluster(t, c.Flags, family)
				for step := range c.Steps {
					cluster.take(t, c, step)
					table, _, _ := cluster.builder.Build()
					for _, p := range probes(t, c, family, step) {
						if got := routed(table, p); got.String() != p.Want.String() {
							t.Errorf("step %d, %s: want %q, that is\n%s, got\n%s", step+1, p.Question.Packet, p.Question.Want, p.Want, got)
						}
					}
				}
			})
		}
	}
}

func probes(t *testing.T, c Case, family service.Family, step int) []Probe {
	t.Helper()
	list, err := c.Probes(family, step)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func routed(table *service.Table, p Probe) Answer {
	v := table.Route(p.Packet)
	destinations := slices.SortedFunc(slices.Values(v.Destinations), func(x, y service.Destination) int { return x.Endpoint.Compare(y.Endpoint) })
	return Answer{Action: v.Action, Destinations: destinations}
}
