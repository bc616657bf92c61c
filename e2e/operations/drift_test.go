package operations

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

func vip(f lab.Family) netip.AddrPort { return netip.AddrPortFrom(site.ClusterIP(f, 10), 80) }

// TestDriftIsRepairedCountedAndSaid takes the rules of one chain away by hand. Its one rule is all that is written.
func TestDriftIsRepairedCountedAndSaid(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client := web(t, variant)
		s.Start("--iptables-sync-period", "1s")
		s.Answers(client, "tcp", vip(lab.IPv4))
		s.Says("Synced for the first time")
		chain := ""
		for line := range strings.Lines(s.Rules(lab.IPv4)) {
			if name, is := strings.CutPrefix(line, ":FL-S-"); is {
				chain = "FL-S-" + strings.Fields(name)[0]
			}
		}
		if chain == "" {
			t.Fatalf("no chain of a Service in\n%s", s.Rules(lab.IPv4))
		}
		s.Settled()
		before := s.Rules(lab.IPv4)
		if out, err := s.Node().Output(t.Context(), "iptables-"+variant, "-t", "nat", "-F", chain); err != nil {
			t.Fatal(err, out)
		}
		s.Says("Repairing rules that another program has changed")
		s.Eventually("the rules are as they were", func() error {
			if now := s.Rules(lab.IPv4); now != before {
				return fmt.Errorf("they are\n%s", now)
			}
			return nil
		})
		s.Answers(client, "tcp", vip(lab.IPv4))
		s.Serves(site.MetricsPort, "/metrics", 200,
			`fairlead_drift_repaired_total{ip_family="IPv4",kind="chain"} 1`, `fairlead_drift_repaired_total{ip_family="IPv6",kind="chain"} 0`,
			`fairlead_events_total{reason="DriftRepaired"} 1`, `kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv4",table="nat"} 1`)
		s.Says("nat " + chain + ": the rules have been changed")
	})
}
