package packets

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestAddressesThatIptablesPrintsInAnotherWayAreNoDrift has addresses below ::/96 wherever a rule can have one.
func TestAddressesThatIptablesPrintsInAnotherWayAreNoDrift(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client, _ := webSite(t, variant)
		svc := servicetest.Service("dotted", "fd00:10:96::77", "80")
		svc.Spec.ExternalIPs = []string{"::102:304"}
		svc.Spec.Type = "LoadBalancer"
		svc.Spec.LoadBalancerSourceRanges = []string{"::102:300/120"}
		s.Write("dotted", svc, servicetest.Slice("dotted", "dotted-1", []string{"8080"}, "::506:708"))
		s.Start(site.ModeFlag("sync-period"), "500ms")
		webAnswers(s, client)
		s.Verified(3)
		if n := s.Log.Count("Repairing rules that another program has changed"); n != 0 {
			t.Errorf("%d repairs", n)
		}
	})
}
