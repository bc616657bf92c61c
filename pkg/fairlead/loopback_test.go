package fairlead

import (
	"strings"
	"testing"

	"k8s.io/klog/v2/ktesting"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

const routeLocalnet = "/proc/sys/net/ipv4/conf/all/route_localnet"

func TestCleanupRestoresRouteLocalnet(t *testing.T) {
	serve := func(t *testing.T, do func(func() error) error) {
		t.Helper()
		// Each process has its own: what an earlier one has done is in the kernel alone.
		for range 2 {
			hook := loopbackRouting{variant: xtables.NFT}
			table := &service.Table{NodePorts: service.NodeAddresses{All: true, Loopback: true}}
			if err := do(func() error { return hook.Synced(t.Context(), nil, table, nil) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name          string
		before, after []string // commands before and after Fairlead runs
		want, reason  string
	}{
		{"Fairlead has set it", nil, nil, "0", "as it was before Fairlead"},
		{"another program had set it", []string{"echo 1 > " + routeLocalnet}, nil, "1", "not known to have been set by Fairlead"},
		{"somebody has flushed the rules since", nil, []string{"iptables-nft -F", "iptables-nft -X"}, "1", "not known to have been set by Fairlead"},
		{"somebody has unset it since", nil, []string{"echo 0 > " + routeLocalnet}, "0", ""},
		{"a kube-proxy serves again", nil, []string{"iptables-nft -t nat -N KUBE-SERVICES"}, "1", "the rules of a kube-proxy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			node := hosts(t)[0]
			run := func(commands []string) {
				t.Helper()
				for _, command := range commands {
					if out, err := node.Output(t.Context(), "sh", "-c", command); err != nil {
						t.Fatalf("%s: %v\n%s", command, err, out)
					}
				}
			}
			run(test.before)
			serve(t, node.Do)
			run(test.after)
			logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
			if err := node.Do(func() error { return Cleanup(logContext(t.Context(), logger)) }); err != nil {
				t.Fatal(err)
			}
			got, err := node.Output(t.Context(), "cat", routeLocalnet)
			if err != nil || strings.TrimSpace(got) != test.want {
				t.Errorf("route_localnet is %q, %v; want %s", got, err, test.want)
			}
			log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
			if !strings.Contains(log, test.reason) || test.reason == "" && strings.Contains(log, "route_localnet") {
				t.Errorf("does not log %q:\n%s", test.reason, log)
			}
			rules, err := node.Output(t.Context(), "iptables-nft-save")
			if err != nil || strings.Contains(rules, guardPrefix) {
				t.Errorf("cleanup leaves %v\n%s", err, rules)
			}
		})
	}
}

func TestRouteLocalnetIsNotSetWithoutTheRule(t *testing.T) {
	node := hosts(t)[0]
	err := node.Do(func() error { return allowLoopback(t.Context(), "no such variant") })
	if err == nil {
		t.Error("no error")
	}
	if got, err := node.Output(t.Context(), "cat", routeLocalnet); err != nil || strings.TrimSpace(got) != "0" {
		t.Errorf("route_localnet is set without the rule: %q, %v", got, err)
	}
}
