//go:build ipvs && soak

package ipvs

import (
	"fmt"

	"github.com/fairlead/fairlead/e2e/lab"
)

// within makes a change and waits until it shows. By then Fairlead must not have verified any family more often than so many times.
func (s *stage) within(verifications int, what string, change func(), shows func() error) {
	s.t.Helper()
	before := stamp()
	change()
	s.Eventually(what, shows)
	for _, f := range lab.Families {
		if n := len(s.verifications(f, before)); n > verifications {
			s.t.Errorf("%s: after %d verifications of %s", what, n, f)
		}
	}
}

// verified waits until Fairlead has ended so many verifications of each family. Unlike Verified, it does not count one that has ended before
// and whose log line arrives late.
func (s *stage) verified(times int) {
	s.t.Helper()
	start := stamp()
	s.Eventually(fmt.Sprintf("Fairlead verifies %d times", times), func() error {
		for _, f := range lab.Families {
			if list := s.verifications(f, start); len(list) < times {
				return fmt.Errorf("%s: the verifications since %s are %v", f, start, list)
			}
		}
		return nil
	})
}
