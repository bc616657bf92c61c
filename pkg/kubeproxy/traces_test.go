package kubeproxy

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

func mustFind(t testing.TB, f service.Family) traces {
	t.Helper()
	found, err := findTraces(f)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func mustRestore(t testing.TB, kernel xtables.Kernel, text string) {
	t.Helper()
	if err := kernel.Restore(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// ownRules is what another program, such as Fairlead itself, has beside kube-proxy: a jump and a chain of some rules.
func ownRules(rules int) string {
	return "*nat\n:OWN - [0:0]\n" + strings.Repeat("-A OWN -p tcp --dport 80 -j RETURN\n", rules) + "COMMIT\n"
}

func TestRulesOfKubeProxyLeaveTraces(t *testing.T) {
	forEach(t, func(t *testing.T, f service.Family, v xtables.Variant) {
		kernel := open(t, f, v)
		mustRestore(t, kernel, "*nat\n:OWN - [0:0]\n-A PREROUTING -j OWN\nCOMMIT\n*filter\nCOMMIT\n")
		quiet := mustFind(t, f)
		mustRestore(t, kernel, ownRules(100))
		if now := mustFind(t, f); now != quiet {
			t.Errorf("%q became %q with another program's rules", quiet, now)
		}
		mustRestore(t, kernel, ruleset(f))
		if now := mustFind(t, f); now == quiet {
			t.Errorf("%q stays the same with kube-proxy's rules", quiet)
		}
	})
}

func TestTableAndDeviceOfKubeProxyLeaveTraces(t *testing.T) {
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			quiet := mustFind(t, f)
			create := nfMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, unix.NLM_F_ACK|unix.NLM_F_CREATE, sequence, nftFamily(f), 0,
				deleteTable(f)[headers:])
			if err := sendBatch(create); err != nil {
				t.Fatal(err)
			}
			table := mustFind(t, f)
			addLink(t, deviceName)
			both := mustFind(t, f)
			if quiet == table || table == both {
				t.Errorf("got %q, with the table %q, with the device too %q", quiet, table, both)
			}
			if text := both.String(); !strings.Contains(text, tableName) || !strings.Contains(text, deviceName) {
				t.Errorf("it is named %q", text)
			}
		})
	}
}

// The device holds the addresses of both families, and each has a TakeOver of its own.
func TestADeviceOfTheOtherFamilysAddressesIsNothingToRemove(t *testing.T) {
	for f, other := range map[service.Family]service.Family{service.IPv4: service.IPv6, service.IPv6: service.IPv4} {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			addLink(t, deviceName, alone(testNode[other].vip))
			for family, want := range map[service.Family]bool{f: false, other: true} {
				if stands, err := Standing(t.Context(), family, nil); err != nil || stands != want {
					t.Errorf("%s: stands: %v, %v, want %v", family, stands, err, want)
				}
			}
		})
	}
}

// BenchmarkTraces is what a quiet node pays every few seconds, with as many rules as 10,000 Services have.
func BenchmarkTraces(b *testing.B) {
	for _, v := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		b.Run(fmt.Sprint(v), func(b *testing.B) {
			inNamespace(b)
			kernel, err := xtables.Open(b.Context(), service.IPv4, v)
			if err != nil {
				b.Fatal(err)
			}
			mustRestore(b, kernel, ownRules(50_000))
			for b.Loop() {
				mustFind(b, service.IPv4)
			}
		})
	}
}
