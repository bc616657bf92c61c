package fairlead

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2/ktesting"

	"github.com/fairlead/fairlead/pkg/config"
)

func TestModeAutoKeepsTheModeThatServes(t *testing.T) {
	noIPVS := errors.New("the kernel has no IPVS")
	tests := []struct {
		name   string
		node   evidence
		probe  error
		want   config.Mode
		reason string
	}{
		{"a new node", evidence{}, nil, config.ModeIPTables, "it is the default"},
		{"a node whose rules cannot be read", evidence{err: errors.New("no iptables")}, nil, config.ModeIPTables, "no iptables"},
		{"Fairlead in iptables mode", evidence{iptables: true}, nil, config.ModeIPTables, "already serves in iptables mode"},
		{"Fairlead in ipvs mode", evidence{ipvs: true}, nil, config.ModeIPVS, "already serves in ipvs mode"},
		{"Fairlead in iptables mode, while connections of ipvs mode drain", evidence{iptables: true, ipvs: true}, nil, config.ModeIPTables, "already serves in iptables mode"},
		{"kube-proxy in ipvs mode", evidence{kubeProxyIPVS: true}, nil, config.ModeIPVS, "kube-ipvs0"},
		{"Fairlead in iptables mode, in place of a kube-proxy in ipvs mode", evidence{iptables: true, kubeProxyIPVS: true}, nil, config.ModeIPTables, "already serves"},
		{"ipvs mode, and a kernel that no longer has IPVS", evidence{ipvs: true}, noIPVS, config.ModeIPTables, "the kernel has no IPVS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mode, reason := test.node.mode(func() error { return test.probe })
			if mode != test.want || !strings.Contains(reason, test.reason) {
				t.Errorf("got %s: %s", mode, reason)
			}
		})
	}
}

func TestModeAutoWaitsForRulesThatCannotBeRead(t *testing.T) {
	held := errors.New("another program holds the xtables lock")
	noIPVS := errors.New("the kernel has no IPVS")
	tests := []struct {
		name  string
		reads []evidence // the last one over and over
		probe error
		want  config.Mode
		took  time.Duration
		logs  int
	}{
		{"they can be read", []evidence{{ipvs: true}}, nil, config.ModeIPVS, 0, 0},
		{"they can be read a little later", []evidence{{err: held}, {err: held}, {ipvs: true}}, nil, config.ModeIPVS, 2 * time.Second, 1},
		{"they can never be read", []evidence{{err: held}}, nil, config.ModeIPTables, rulesPatience, 1},
		{"not even then, but the interface of kube-proxy is there", []evidence{{kubeProxyIPVS: true, err: held}}, nil, config.ModeIPVS, rulesPatience, 1},
		{"those of one family show iptables mode", []evidence{{iptables: true, err: held}}, nil, config.ModeIPTables, 0, 0},
		{"those of one family show ipvs mode, and the others iptables mode later", []evidence{{ipvs: true, err: held}, {ipvs: true, iptables: true}}, nil, config.ModeIPTables, time.Second, 1},
		{"IPVS mode cannot serve", []evidence{{err: held}}, noIPVS, config.ModeIPTables, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
				probe := func() error { return test.probe }
				n, start := 0, time.Now()
				e := awaitEvidence(logContext(t.Context(), logger), func() evidence {
					n++
					return test.reads[min(n, len(test.reads))-1]
				}, probe)
				if mode, reason := e.mode(probe); mode != test.want {
					t.Errorf("got %s: %s", mode, reason)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
				if got := strings.Count(log, "Cannot read the rules"); got != test.logs {
					t.Errorf("logged %d times, want %d:\n%s", got, test.logs, log)
				}
			})
		})
	}
}

// chosen is the mode that auto resolves to on a host, and what is logged.
func chosen(t *testing.T, do func(func() error) error) (*config.Config, string) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	c := config.Default()
	c.Mode, c.IPTables.Variant = config.ModeAuto, "nft"
	err := do(func() error {
		c = chooseMode(logContext(t.Context(), logger), c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, logger.GetSink().(ktesting.Underlier).GetBuffer().String()
}

func TestModeAutoLooksAtTheNode(t *testing.T) {
	tests := []struct {
		name     string
		commands [][]string
		want     evidence
		reason   string // in the log
	}{
		{"a new node", nil, evidence{}, "nothing serves in ipvs mode"},
		{"rules of iptables mode", [][]string{{"iptables-nft", "-t", "nat", "-N", "FL-SERVICES"}}, evidence{iptables: true}, "already serves in iptables mode"},
		{"rules of ipvs mode", [][]string{{"iptables-nft", "-t", "nat", "-N", "FLV-POSTROUTING"}}, evidence{ipvs: true}, "already serves in ipvs mode"},
		{"rules of IPv6 only", [][]string{{"ip6tables-nft", "-t", "nat", "-N", "FL-SERVICES"}}, evidence{iptables: true}, "already serves in iptables mode"},
		{"rules of other programs", [][]string{{"iptables-nft", "-t", "nat", "-N", "KUBE-SERVICES"}}, evidence{}, "nothing serves in ipvs mode"},
		{"kube-proxy's interface", [][]string{{"ip", "link", "add", "kube-ipvs0", "type", "bridge"}}, evidence{kubeProxyIPVS: true}, "kube-proxy has served in ipvs mode"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			node := hosts(t)[0]
			for _, command := range test.commands {
				if out, err := node.Output(t.Context(), command[0], command[1:]...); err != nil {
					t.Fatalf("%v: %v\n%s", command, err, out)
				}
			}
			c := config.Default()
			c.IPTables.Variant = "nft"
			var got evidence
			if err := node.Do(func() error { got = serving(t.Context(), c); return nil }); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("found %+v, want %+v", got, test.want)
			}
			chosen, log := chosen(t, node.Do)
			if chosen.Mode == config.ModeAuto || chosen.Validate() != nil {
				t.Errorf("got mode %s, %v", chosen.Mode, chosen.Validate())
			}
			if strings.Count(log, "Chose the mode") != 1 || !strings.Contains(log, test.reason) {
				t.Errorf("logged\n%s", log)
			}
		})
	}
}

func TestOtherModesAreNotResolved(t *testing.T) {
	for _, mode := range config.Modes {
		c := config.Default()
		c.Mode = mode
		if got := chooseMode(t.Context(), c); got != c {
			t.Errorf("%s became %s", mode, got.Mode)
		}
	}
}
