package cases

import (
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// TestTable finds mistakes in the table itself.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	questions := 0
	for _, c := range All() {
		if names[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		names[c.Name] = true
		if last, err := c.atlas(service.IPv6).port(firstOwnPort + ownPorts - 1); err != nil || last > 32767 {
			t.Errorf("case %q has no node ports left: %d, %v", c.Name, last, err)
		}
		for _, family := range c.Families() {
			for step := range c.Steps {
				if _, err := c.Objects(family, step); err != nil {
					t.Error(err)
				}
				probes, err := c.Probes(family, step)
				if err != nil {
					t.Error(err)
				}
				if len(probes) == 0 {
					t.Errorf("case %q, step %d asks nothing", c.Name, step+1)
				}
				questions += len(probes)
			}
		}
	}
	t.Logf("%d cases in %d groups, %d questions in both families", len(names), len(Groups(All())), questions)
}
