package packets

import (
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestANodeWhoseIPv6IsDisabledIsServedInIPv4 has a Service of both families.
func TestANodeWhoseIPv6IsDisabledIsServedInIPv4(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, _ := nodePortSite(t, variant)
		if err := s.Node().SetSysctl("ipv6/conf/all/disable_ipv6", "1"); err != nil {
			t.Fatal(err)
		}
		s.Start()
		s.Says("IPv6 is disabled on this node, serving IPv4 only")
		s.Answers(s.Outside, "tcp", s.Node().AddrPort(lab.IPv4, 30080))
		s.Serves(site.HealthzPort, "/healthz", http.StatusOK)
		if n := s.Log.Count("Sync failed"); n > 0 {
			t.Errorf("%d syncs have failed", n)
		}
	})
}
