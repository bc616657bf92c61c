package fairlead

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/config"
)

func TestInitProtectsTheLoopbackAddressBeforeItSetsRouteLocalnet(t *testing.T) {
	const sysctl = "/proc/sys/net/ipv4/conf/all/route_localnet"
	read := func(t *testing.T, node *lab.Host, command ...string) string {
		t.Helper()
		out, err := node.Output(t.Context(), command[0], command[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			node := hosts(t)[0]
			c := config.Default()
			c.IPTables.Variant, c.Conntrack = variant, config.Conntrack{}
			for range 2 { // the second time, there is nothing left to do
				if err := node.Do(func() error { return Init(t.Context(), c) }); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, node, "cat", sysctl); got != "1" {
				t.Errorf("route_localnet is %s", got)
			}
			rules := read(t, node, "iptables-"+variant+"-save", "-t", "filter")
			for _, want := range []string{"-A INPUT -j FLI-LOOPBACK", "-A FLI-LOOPBACK -d 127.0.0.0/8 ! -i lo"} {
				if strings.Count(rules, want) != 1 {
					t.Errorf("not once: %q in\n%s", want, rules)
				}
			}
			if err := node.Do(func() error { return Cleanup(t.Context()) }); err != nil {
				t.Fatal(err)
			}
			if rules := read(t, node, "iptables-"+variant+"-save"); strings.Contains(rules, "FLI-") {
				t.Errorf("cleanup leaves:\n%s", rules)
			}
			if got := read(t, node, "cat", sysctl); got != "0" {
				t.Errorf("after cleanup, route_localnet is %s", got)
			}
		})
	}
}

func TestInitLeavesRouteLocalnetAloneIfItIsNotNeeded(t *testing.T) {
	tests := map[string]func(*config.Config){
		"without node ports on the loopback address": func(c *config.Config) { c.IPTables.LocalhostNodePorts = false },
		"with node ports on other addresses":         func(c *config.Config) { c.NodePortAddresses = []string{"10.0.0.0/8"} },
	}
	node := hosts(t)[0]
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			c.Conntrack = config.Conntrack{}
			set(c)
			if err := node.Do(func() error { return Init(t.Context(), c) }); err != nil {
				t.Fatal(err)
			}
			out, err := node.Output(t.Context(), "cat", "/proc/sys/net/ipv4/conf/all/route_localnet")
			if err != nil || strings.TrimSpace(out) != "0" {
				t.Errorf("route_localnet is %q, %v", out, err)
			}
		})
	}
}

func TestInitWaitsForWhatTheKernelLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		said := logger.GetSink().(ktesting.Underlier).GetBuffer().String
		ctx := klog.NewContext(t.Context(), logger)
		attempts := 0
		err := await(ctx, nil, func() error {
			if attempts++; attempts < 4 {
				return errors.New("no ip_vs")
			}
			return nil
		})
		if err != nil || attempts != 4 {
			t.Errorf("after %d attempts: %v", attempts, err)
		}
		if n := strings.Count(said(), "no ip_vs"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, said())
		}
		changes := make(chan *config.Config, 1)
		changes <- config.Default()
		if err := await(ctx, changes, func() error { return errors.New("no ip_vs") }); err != nil {
			t.Errorf("another mode: %v", err)
		}
		ctx, stop := context.WithCancel(ctx)
		stop()
		if err := await(ctx, nil, func() error { return errors.New("no ip_vs") }); !errors.Is(err, context.Canceled) {
			t.Errorf("the end of the process: %v", err)
		}
	})
}

func TestInitPreparesIPVSOnlyInIPVSMode(t *testing.T) {
	for mode, want := range map[config.Mode]int{config.ModeIPTables: 0, config.ModeIPVS: 1} {
		prepared := 0
		if err := initIPVS(t.Context(), mode, nil, func() error { prepared++; return nil }); err != nil {
			t.Error(err)
		}
		if prepared != want {
			t.Errorf("%s mode: prepared %d times, want %d", mode, prepared, want)
		}
	}
}

func TestWaitingForTheKernelTakesEachChangeOfTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := make(chan *config.Config, 1)
		changes <- config.Default()
		close(changes)
		attempts, applied := 0, 0
		err := awaitSupport(t.Context(), changes, func() error {
			if attempts++; attempts < 4 {
				return errors.New("no ip_vs")
			}
			return nil
		}, func(*config.Config) { applied++ })
		if err != nil || attempts != 4 || applied != 1 {
			t.Errorf("%d attempts, %d changes applied, error %v", attempts, applied, err)
		}
	})
}
