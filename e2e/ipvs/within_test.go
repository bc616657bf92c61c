//go:build ipvs && soak

package ipvs

import (
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// within makes a change and waits until it shows. By then Fairlead must not have verified any family more often than so many times.
func (s *stage) within(verifications int, what string, change func(), shows func() error) {
	s.t.Helper()
	before := site.Stamp()
	change()
	s.Eventually(what, shows)
	for _, f := range lab.Families {
		if n := len(s.verifications(f, before)); n > verifications {
			s.t.Errorf("%s: after %d verifications of %s", what, n, f)
		}
	}
}
