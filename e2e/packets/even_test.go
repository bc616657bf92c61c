//go:build soak

package packets

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestConnectionsSpreadEvenly compares the spread over endpoints with a fair one. A fair one fails the whole test with probability
// level, as each part has an equal share of it. It leaves out one of 100 endpoints with probability 10⁻¹¹.
func TestConnectionsSpreadEvenly(t *testing.T) {
	const connections, level = 3000, 1e-6
	sizes := []int{2, 3, 7, 100}
	tests := len(site.Variants) * len(lab.Families) * len(sizes)
	eachSize(t, sizes, connections, func(t *testing.T, answers answers) {
		if err := answers.complete(); err != nil {
			t.Error(err)
		}
		if p := lab.Even(answers.counts, len(answers.endpoints)); p < level/float64(tests) {
			t.Errorf("a fair spread is this uneven with a chance of %g only: %v", p, answers.counts)
		}
	})
}
