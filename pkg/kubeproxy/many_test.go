package kubeproxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// chainName is a name as kube-proxy makes them.
func chainName(prefix string, n int) string {
	hash := []byte("AAAAAAAAAAAAAAAA")
	for i := len(hash) - 1; n > 0; i, n = i-1, n/26 {
		hash[i] = byte('A' + n%26)
	}
	return prefix + string(hash)
}

// many is the nat table of so many Services with one endpoint each.
func many(services int) string {
	var chains, rules strings.Builder
	for n := range services {
		svc, sep := chainName("KUBE-SVC-", n), chainName("KUBE-SEP-", n)
		fmt.Fprintf(&chains, ":%s - [0:0]\n:%s - [0:0]\n", svc, sep)
		fmt.Fprintf(&rules, "-A KUBE-SERVICES -d 10.%d.%d.1/32 -p tcp -m tcp --dport 80 -j %s\n-A %s -j %s\n-A %s -p tcp -m tcp -j DNAT --to-destination 10.244.0.1:80\n",
			n/256, n%256, svc, svc, sep, sep)
	}
	return "*nat\n:KUBE-SERVICES - [0:0]\n" + chains.String() + "-A PREROUTING -j KUBE-SERVICES\n" + rules.String() + "COMMIT\n"
}

// To remove the chains of thousands of Services takes no longer than to write them.
func TestManyChainsGoAtOnce(t *testing.T) {
	for variant, services := range map[xtables.Variant]int{xtables.Legacy: 10000, xtables.NFT: 1000} {
		t.Run(string(variant), func(t *testing.T) {
			inNamespace(t)
			kernel := open(t, service.IPv4, variant)
			start := time.Now()
			if err := kernel.Restore(t.Context(), []byte(many(services))); err != nil {
				t.Fatal(err)
			}
			wrote := time.Since(start)
			start = time.Now()
			if err := Remove(t.Context(), service.IPv4, nil); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			t.Logf("%d Services: written in %v, removed in %v", services, wrote, took)
			if left := lines(t, kernel); len(left) > 0 {
				t.Errorf("%d lines are left: %s", len(left), left[0])
			}
			if took > 10*wrote+time.Minute {
				t.Errorf("removed in %v", took)
			}
		})
	}
}
