//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

// TestConnectionsGoOnWhenTheExternalTrafficPolicyChanges as long as they are at an endpoint of the Service; those of outsiders, at an endpoint
// of this node.
func TestConnectionsGoOnWhenTheExternalTrafficPolicyChanges(t *testing.T) {
	s, here, there := balancedStage(t)
	all := &lines{s, map[string]*lab.Conn{}}
	both := []*lab.Host{here, there}
	anywhere, local := corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal
	s.balance("web", 10, anywhere, here, there)
	s.start()
	for i, policy := range []corev1.ServiceExternalTrafficPolicy{anywhere, local, anywhere, local} {
		name := fmt.Sprintf("%d: %s", i, policy)
		t.Run(name, func(t *testing.T) {
			s.balance("web", 10, policy, here, there)
			outside := both
			if policy == local {
				outside = both[:1]
			}
			for _, f := range lab.Families {
				to := balancerIP(f, 10, 80)
				s.Eventually("outsiders get to the endpoints of "+name, func() error { return s.attempt(s.Outside, "tcp", to, outside...) })
				all.echo(t, f.String()+" has changed")
				for _, from := range []*lab.Host{s.client, s.node1} {
					if err := s.tell(from, "tcp", to, both...); err != nil {
						t.Error(err)
					}
					all.open(name, from, to, both...)
					all.open(name, from, vip(f, 10, 80), both...)
				}
				all.open(name, s.Outside, to, here)
			}
			s.Verified(2) // which removes endpoints without connections
			all.echo(t, "later")
		})
	}
	if n := s.Log.Count("Repairing"); n > 0 {
		t.Errorf("Fairlead repairs %d times", n)
	}
}
