package kubeproxy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/rtnl"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// inNamespace moves the test to a network namespace of its own, which goes with the test's thread.
func inNamespace(t testing.TB) {
	t.Helper()
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "xtables.lock"))
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace of its own needs root: %v", err)
	}
	if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: rtnl.Loopback}}); err != nil {
		t.Fatal(err)
	}
}

func forEach(t *testing.T, test func(t *testing.T, f service.Family, v xtables.Variant)) {
	for _, v := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		for _, f := range []service.Family{service.IPv4, service.IPv6} {
			t.Run(fmt.Sprintf("%s/%s", v, f), func(t *testing.T) {
				inNamespace(t)
				test(t, f, v)
			})
		}
	}
}

func open(t *testing.T, f service.Family, v xtables.Variant) xtables.Kernel {
	t.Helper()
	kernel, err := xtables.Open(t.Context(), f, v)
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

// ruleset is what kube-proxy has made, without what only one family understands.
func ruleset(f service.Family) string {
	if f == service.IPv6 {
		return strings.NewReplacer("10.244.1.2/32", "fd00::2/128", "10.244.1.2:80", "[fd00::2]:80", "10.96.0.50/32", "fd00:96::50/128").Replace(saved)
	}
	return saved
}

// lines are the rules of the kernel without counters.
func lines(t *testing.T, kernel xtables.Kernel) []string {
	t.Helper()
	var out bytes.Buffer
	if err := kernel.Save(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(out.String()) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " [")
		if strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, ":") && strings.HasSuffix(line, " -") {
			list = append(list, line)
		}
	}
	return list
}

var stays = []string{":KUBE-KUBELET-CANARY -", ":KUBE-MARK-DROP -", ":OTHER -",
	`-A PREROUTING -m comment --comment "goes -j KUBE-SERVICES" -j OTHER`, "-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000", "-A OTHER -j RETURN"}

func TestRulesAreRemovedAndNothingElse(t *testing.T) {
	forEach(t, func(t *testing.T, f service.Family, v xtables.Variant) {
		kernel := open(t, f, v)
		if stands, err := Standing(t.Context(), f, nil); err != nil || stands {
			t.Fatalf("before: %v, %v", stands, err)
		}
		if err := kernel.Restore(t.Context(), []byte(ruleset(f))); err != nil {
			t.Fatal(err)
		}
		for _, other := range []service.Family{service.IPv4, service.IPv6} {
			if stands, err := Standing(t.Context(), other, nil); err != nil || stands != (other == f) {
				t.Errorf("%s: stands: %v, %v", other, stands, err)
			}
			if other != f {
				if err := Remove(t.Context(), other, nil); err != nil {
					t.Error(err)
				}
			}
		}
		for range 2 {
			if left, err := Retire(t.Context(), f, nil, nil); err != nil || left != 0 {
				t.Fatal(left, err)
			}
			if diff := cmp.Diff(stays, lines(t, kernel)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		}
		if stands, err := Standing(t.Context(), f, nil); err != nil || stands {
			t.Errorf("afterwards: %v, %v", stands, err)
		}
	})
}

func TestWhatAnothersRuleNeedsStaysAndIsNamed(t *testing.T) {
	forEach(t, func(t *testing.T, f service.Family, v xtables.Variant) {
		kernel := open(t, f, v)
		text := strings.Replace(ruleset(f), "COMMIT\n", "-A OTHER -p tcp -j KUBE-MARK-MASQ\nCOMMIT\n", 1)
		if err := kernel.Restore(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		err := Remove(t.Context(), f, nil)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "-A OTHER -p tcp -j KUBE-MARK-MASQ") {
			t.Errorf("got %v", err)
		}
		left := strings.Join(lines(t, kernel), "\n")
		for _, want := range []string{"-j KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK", "-j KUBE-POSTROUTING", "-j MASQUERADE"} {
			if !strings.Contains(left, want) {
				t.Errorf("%q is gone:\n%s", want, left)
			}
		}
		if strings.Contains(left, "KUBE-SERVICES -") || strings.Contains(left, "KUBE-SEP-") {
			t.Errorf("left:\n%s", left)
		}
	})
}

func TestTheTableOfNFTablesGoes(t *testing.T) {
	inNamespace(t)
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		create := nfMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, unix.NLM_F_ACK|unix.NLM_F_CREATE, sequence, nftFamily(f), 0,
			deleteTable(f)[headers:])
		if err := sendBatch(create); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range []service.Family{service.IPv4, service.IPv6} {
		for range 2 {
			if err := Remove(t.Context(), f, nil); err != nil {
				t.Error(err)
			}
		}
		for j, other := range []service.Family{service.IPv4, service.IPv6} {
			if stands, err := Standing(t.Context(), other, nil); err != nil || stands != (j > i) {
				t.Errorf("without %s, %s stands: %v, %v", f, other, stands, err)
			}
		}
	}
}

func TestAListenerOfAnotherProcessIsSeen(t *testing.T) {
	inNamespace(t)
	for _, address := range []string{"127.0.0.1:10249", "[::]:10256"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if port, err := Listening(); err != nil || port != 0 {
			t.Errorf("%s: our own is taken for another's: %d, %v", address, port, err)
		}
		port, err := listening(func() map[string]bool { return nil })
		if err != nil || !strings.HasSuffix(address, fmt.Sprint(port)) {
			t.Errorf("%s: got %d, %v", address, port, err)
		}
		l.Close()
		if port, err := listening(func() map[string]bool { return nil }); err != nil || port != 0 {
			t.Errorf("%s: closed, but: %d, %v", address, port, err)
		}
	}
}
