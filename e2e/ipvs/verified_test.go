//go:build ipvs

package ipvs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

// verification is a comparison of the kernel with what it should hold, as Fairlead has logged it.
type verification struct {
	ended       string // stamp
	differences int
}

// verifications are those of a family that have ended since a stamp.
func (s *stage) verifications(f lab.Family, since string) (list []verification) {
	pattern := regexp.MustCompile(fmt.Sprintf(`I(\d{4} [\d:.]+) .*"Verified" family=%q .*differences=(\d+)`, f))
	for _, line := range pattern.FindAllStringSubmatch(s.Log.String(), -1) {
		n, err := strconv.Atoi(line[2])
		if err != nil {
			s.t.Fatal(err)
		}
		if line[1] >= since {
			list = append(list, verification{line[1], n})
		}
	}
	return list
}

// repaired waits until Fairlead has repaired a damage that was done between two stamps, and has verified that. Where every verification looks
// for such damage, only one may miss it, as it may have been in progress. The repair has to be complete.
func (s *stage) repaired(t *testing.T, before, after string, everyTime bool) {
	t.Helper()
	for _, f := range lab.Families {
		var list []verification
		found := -1 // index of the verification that finds the damage
		s.Eventually(fmt.Sprintf("%s: the damage is repaired", f), func() error {
			list = s.verifications(f, before)
			found = slices.IndexFunc(list, func(v verification) bool { return v.differences > 0 })
			if found < 0 || found == len(list)-1 {
				return fmt.Errorf("the verifications since %s are %v", before, list)
			}
			return nil
		})
		missed := slices.DeleteFunc(slices.Clone(list[:found]), func(v verification) bool { return v.ended < after })
		if everyTime && len(missed) > 1 {
			t.Errorf("%s: the damage was done at %s, and the verifications %v miss it", f, after, missed)
		}
		if list[found+1].differences != 0 {
			t.Errorf("%s: the damage is not repaired at once: %v", f, list)
		}
	}
}
