package packets

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/tier"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// ownChain is the chain of Fairlead's that PREROUTING leads to in the nat table, and refusingChain the one that refuses packets.
var ownChain, refusingChain = chains()

func chains() (own, refusing string) {
	if site.Mode == site.IPVS {
		return "FLV-PREROUTING", "FLV-FILTER"
	}
	return "FL-SERVICES", "FL-FILTER"
}

// webSite is a site with one Service, cluster IP 10, and a pod behind it.
func webSite(t *testing.T, variant string) (s *site.Site, client, server *lab.Host) {
	t.Helper()
	s = site.New(t, variant)
	server, client = s.Pod(s.Node(), "server", 8080), s.Pod(s.Node(), "client", 9000)
	s.Write("web", site.DualStack("web", 10, "80"))
	for _, f := range lab.Families {
		s.Write("web-"+f.String(), site.Slice(f, "web", "8080", site.At(f, server, s.Node())))
	}
	return s, client, server
}

func webAnswers(s *site.Site, client *lab.Host) {
	for _, f := range lab.Families {
		s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
	}
}

func TestBadObjectsAreNamedOnceAndTheRestIsServed(t *testing.T) {
	s, client, server := webSite(t, "nft")
	bad := servicetest.Service("bad", "10.96.0.77", "low:0", "good:80")
	clash := servicetest.Service("clash", "10.96.0.78", "80")
	clash.Spec.ExternalIPs = []string{"10.96.0.10"}
	s.Write("bad", bad, clash, servicetest.Slice("bad", "bad-1", []string{"good:8080"}, "127.0.0.1", "169.254.1.1", server.IPv4.String()))
	if err := os.WriteFile(filepath.Join(s.Manifests, "not.yaml"), []byte("kind: Service\n\tname: tab"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Start(site.ModeFlag("sync-period"), "500ms")
	webAnswers(s, client)
	s.Answers(client, "tcp", netip.MustParseAddrPort("10.96.0.77:80"))
	// Every further look at the objects must keep quiet about what has been said.
	s.Write("another", site.DualStack("another", 20, "80"), site.Slice(lab.IPv4, "another", "8080", site.At(lab.IPv4, server, s.Node())))
	s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(lab.IPv4, 20), 80))
	s.Verified(2)
	for _, text := range []string{"port 0 is not between", `127.0.0.1 is a loopback address`, "10.96.0.10:80/tcp belongs to Service default/web", "not.yaml"} {
		if n := s.Log.Count(text); n != 1 {
			t.Errorf("%q is said %d times", text, n)
		}
	}
}

func TestFlushedRulesComeBack(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client, _ := webSite(t, variant)
		s.Write("empty", site.DualStack("empty", 11, "80"))
		s.Start(site.ModeFlag("sync-period"), "1s")
		webAnswers(s, client)
		s.Settled()
		before := s.Rules(lab.IPv4)
		damages := []struct {
			name string
			args []string
		}{
			{"a table is flushed", []string{"-t", "nat", "-F"}},
			{"a jump is taken out", []string{"-t", "nat", "-D", "PREROUTING", "-j", ownChain}},
			{"a rule is put into a chain", []string{"-t", "nat", "-I", ownChain, "-j", "RETURN"}},
			{"a chain of the filter table is emptied", []string{"-t", "filter", "-F", refusingChain}},
		}
		for _, d := range damages {
			t.Run(d.name, func(t *testing.T) {
				if _, err := s.Node().Output(t.Context(), "iptables-"+variant, append([]string{"-w"}, d.args...)...); err != nil {
					t.Fatal(err)
				}
				s.Eventually("the rules are as before", func() error {
					if s.Rules(lab.IPv4) != before {
						return fmt.Errorf("they are\n%s", s.Rules(lab.IPv4))
					}
					return nil
				})
				webAnswers(s, client)
			})
		}
		s.Verified(2)
		if n := s.Log.Count("Repairing rules that another program has changed"); n != len(damages) {
			t.Errorf("repairs are said %d times, want %d", n, len(damages))
		}
	})
}

func TestCleanupLeavesWhatOthersMade(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s, client, _ := webSite(t, variant)
		foreign := "*filter\n:FL-OATING - [0:0]\n:OTHER - [0:0]\n-A INPUT -p tcp -m tcp --dport 1 -j OTHER\n-A FL-OATING -j DROP\n-A OTHER -j RETURN\nCOMMIT\n" +
			"*nat\n:KUBE-MARK-DROP - [0:0]\n-A POSTROUTING -p udp -j MASQUERADE\nCOMMIT\n" +
			"*mangle\n:FLV-OATING - [0:0]\n-A FLV-OATING -j RETURN\nCOMMIT\n" +
			"*raw\n:FLV-OATING - [0:0]\n-A FLV-OATING -j RETURN\nCOMMIT\n"
		families := map[lab.Family]string{lab.IPv4: "iptables-", lab.IPv6: "ip6tables-"}
		before := map[lab.Family]string{}
		for f, program := range families {
			restore := s.Node().Command(t.Context(), program+variant+"-restore", "--wait")
			restore.Stdin = strings.NewReader(foreign)
			if err := s.Node().Run(restore); err != nil {
				t.Fatal(err)
			}
			before[f] = s.Rules(f)
		}
		s.Start()
		webAnswers(s, client)
		s.Stop(syscall.SIGTERM)
		for f := range families {
			if !strings.Contains(s.Rules(f), ownChain) {
				t.Errorf("%s: the rules did not outlive Fairlead", f)
			}
		}
		for range 2 { // the second time there is nothing to do
			if out, err := s.Node().Output(t.Context(), site.Program, "cleanup"); err != nil {
				t.Fatalf("cleanup: %v\n%s", err, out)
			}
		}
		for f := range families {
			if after := s.Rules(f); after != before[f] {
				t.Errorf("%s: before\n%s\nafter\n%s", f, before[f], after)
			}
		}
	})
}

// TestAHeldLockDelaysChangesAndNothingElse holds the lock that all users of legacy iptables share, in a file of its own, for
// longer than so many attempts wait.
func TestAHeldLockDelaysChangesAndNothingElse(t *testing.T) {
	attempts := tier.Count(1, 3)
	lockFile := filepath.Join(t.TempDir(), "xtables.lock")
	t.Setenv("XTABLES_LOCKFILE", lockFile)
	s, client, server := webSite(t, "legacy")
	s.Start()
	webAnswers(s, client)
	s.Settled() // or the rule that protects 127.0.0.0/8 waits for the lock too
	lock, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s.Write("new", site.DualStack("new", 30, "80"), site.Slice(lab.IPv4, "new", "8080", site.At(lab.IPv4, server, s.Node())))
	s.FailedToSync(attempts)
	webAnswers(s, client)
	const held = "another program holds the xtables lock"
	if n := s.Log.CountErrors(held); n < 1 || n > len(lab.Families) {
		t.Errorf("the lock is named %d times, want once a family", n)
	}
	lock.Close()
	s.Answers(client, "tcp", netip.AddrPortFrom(site.ClusterIP(lab.IPv4, 30), 80))
	s.Says("Synced again")
}

func TestMissingIPTablesIsNamedAndWaitedFor(t *testing.T) {
	s, client, _ := webSite(t, "auto")
	programs := t.TempDir()
	command := s.Node().Command(t.Context(), site.Program, "--manifests", s.Manifests, "--hostname-override", s.Node().Name,
		"--conntrack-max-per-core", "0", "--proxy-mode", site.Mode, "-v", "4", site.ModeFlag("sync-period"), "1s", site.ModeFlag("min-sync-period"), "100ms")
	command.Env = append(os.Environ(), "PATH="+programs) // not without TZ, which the stamps in the log depend on
	command.Stdout, command.Stderr = &s.Log, &s.Log
	if err := s.Node().Start(command); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Signal(syscall.SIGTERM)
	s.FailedToSync(3)
	const remedy = "install the package iptables"
	if n := s.Log.CountErrors(remedy); n < 1 || n > len(lab.Families) {
		t.Errorf("said %d times, want once a family", n)
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, action := range []string{"", "-save", "-restore"} {
			path, err := exec.LookPath(name + "-nft" + action)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, filepath.Join(programs, name+"-nft"+action)); err != nil {
				t.Fatal(err)
			}
		}
	}
	webAnswers(s, client)
}

// TestTheVariantInUseIsFound leaves the signs that other programs leave, and looks where Fairlead writes.
func TestTheVariantInUseIsFound(t *testing.T) {
	tests := []struct {
		name    string
		prepare map[string]string // program to rules
		want    string
	}{
		{"none in use: nft", nil, "nft"},
		{"kubelet's hint in legacy, more rules in nft", map[string]string{
			"iptables-legacy-restore": "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n",
			"iptables-nft-restore":    "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n",
		}, "legacy"},
		{"kubelet's hint in nft, more rules in legacy", map[string]string{
			"iptables-nft-restore":    "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n",
			"iptables-legacy-restore": "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n",
		}, "nft"},
		{"no hint, rules in legacy, of the other family", map[string]string{
			"ip6tables-legacy-restore": "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n",
		}, "legacy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, client, _ := webSite(t, "auto")
			for program, rules := range test.prepare {
				restore := s.Node().Command(context.Background(), program)
				restore.Stdin = strings.NewReader(rules)
				if err := s.Node().Run(restore); err != nil {
					t.Fatal(err)
				}
			}
			s.Start()
			webAnswers(s, client)
			if s.Variant = test.want; !strings.Contains(s.Rules(lab.IPv4), ownChain) {
				t.Errorf("the rules are not in %s", test.want)
			}
		})
	}
}
