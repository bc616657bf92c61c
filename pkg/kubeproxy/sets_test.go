package kubeproxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

func createSet(t *testing.T, name, kind string, options netlink.IpsetCreateOptions) {
	t.Helper()
	if err := netlink.IpsetCreate(name, kind, options); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The names are those of a running kube-proxy.
func TestSetsAreRemoved(t *testing.T) {
	for _, test := range []struct {
		name   string
		family service.Family
		set    string
	}{
		{"of IPv4", service.IPv4, "KUBE-LOAD-BALANCER-SOURCE-CIDR"},
		{"of IPv6", service.IPv6, "KUBE-6-NODE-PORT-TCP"},
		{"of source ranges, cut off in IPv6", service.IPv6, "KUBE-6-LOAD-BALANCER-SOURCE-CID"},
		{"of local SCTP node ports, cut off in IPv6", service.IPv6, "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inNamespace(t)
			createSet(t, test.set, "bitmap:port", netlink.IpsetCreateOptions{PortTo: 65535})
			if err := Remove(t.Context(), test.family, nil); err != nil {
				t.Error(err)
			}
			if _, err := netlink.IpsetList(test.set); !absent(err) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

// To try again would not help: a set that such a chain asks is no failure of its own.
func TestASetOfAChainThatAnothersRuleNeedsStays(t *testing.T) {
	forEach(t, func(t *testing.T, f service.Family, v xtables.Variant) {
		set := setName("KUBE-NODE-PORT-TCP", f)
		createSet(t, set, "bitmap:port", netlink.IpsetCreateOptions{PortTo: 65535})
		text := strings.Replace(ruleset(f), "COMMIT\n", "-A KUBE-MARK-MASQ -p tcp -m set --match-set "+set+" dst -j RETURN\n-A OTHER -p tcp -j KUBE-MARK-MASQ\nCOMMIT\n", 1)
		if err := open(t, f, v).Restore(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := Remove(t.Context(), f, nil); !errors.Is(err, ErrForeign) || !foreign(err) {
			t.Errorf("got %v", err)
		}
		if _, err := netlink.IpsetList(set); err != nil {
			t.Error(err)
		}
	})
}
