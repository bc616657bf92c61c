package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func parseFlags(t *testing.T, args ...string) *Config {
	t.Helper()
	c := Default()
	fs := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
	c.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInvalidSettingsAreNamed(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string // each in the message; none: valid
	}{
		{"the defaults are valid", nil, nil},
		{"two families of pods", []string{"--cluster-cidr=10.244.0.0/16, fd00:10:244::/56"}, nil},
		{"a mode of kube-proxy's that Fairlead lacks", []string{"--proxy-mode=nftables"}, []string{"--proxy-mode", "nftables", "iptables, ipvs, auto"}},
		{"auto with valid settings of all modes", []string{"--proxy-mode=auto"}, nil},
		{"auto with invalid settings of a mode", []string{"--proxy-mode=auto", "--ipvs-scheduler=fastest", "--iptables-sync-period=0"}, []string{"--ipvs-scheduler", "--iptables-sync-period"}},
		{"an unknown mode", []string{"--proxy-mode=userspace"}, []string{"--proxy-mode", `"userspace"`, "iptables"}},
		{"an unknown variant", []string{"--iptables-variant=old"}, []string{"--iptables-variant", "legacy"}},
		{"a mark bit out of range", []string{"--iptables-masquerade-bit=32"}, []string{"--iptables-masquerade-bit", "32"}},
		{"no sync period", []string{"--iptables-sync-period=0"}, []string{"--iptables-sync-period"}},
		{"a minimum period longer than the period", []string{"--iptables-min-sync-period=1m"}, []string{"--iptables-min-sync-period", "30s"}},
		{"negative conntrack sizes", []string{"--conntrack-min=-1", "--conntrack-max-per-core=-1"}, []string{"--conntrack-min", "--conntrack-max-per-core"}},
		{"a cluster CIDR without a length", []string{"--cluster-cidr=10.244.0.0"}, []string{"--cluster-cidr", "10.244.0.0"}},
		{"two cluster CIDRs of one family", []string{"--cluster-cidr=10.0.0.0/8,11.0.0.0/8"}, []string{"--cluster-cidr", "IPv4"}},
		{"a prefix as long as a whole name", []string{"--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=abcdefghijklmno"}, []string{"--pod-interface-name-prefix"}},
		{"a bridge without a name", []string{"--detect-local-mode=BridgeInterface"}, []string{"--pod-bridge-interface"}},
		{"an invalid cluster CIDR that is not used", []string{"--detect-local-mode=NodeCIDR", "--cluster-cidr=nonsense"}, nil},
		{"a bridge's name that is not used", []string{"--pod-bridge-interface=far too long for a name"}, nil},
		{"no resync period", []string{"--config-sync-period=0"}, []string{"--config-sync-period", "0s"}},
		{"oom_score_adj out of range", []string{"--oom-score-adj=-1001"}, []string{"--oom-score-adj", "-1001"}},
		{"a negative burst", []string{"--kube-api-burst=-1"}, []string{"--kube-api-burst", "-1"}},
		{"invalid addresses to listen on", []string{"--healthz-bind-address=localhost:10256", "--metrics-bind-address=127.0.0.1:0"}, []string{"--healthz-bind-address", "localhost:10256", "--metrics-bind-address", "127.0.0.1:0"}},
		{"addresses without a port", []string{"--healthz-bind-address=::", "--metrics-bind-address=192.0.2.1"}, nil},
		{"an invalid range for node ports", []string{"--nodeport-addresses=10.0.0.0/8,somewhere"}, []string{"--nodeport-addresses", "somewhere"}},
		{"all of ipvs mode", []string{"--proxy-mode=ipvs", "--ipvs-scheduler=mh", "--ipvs-exclude-cidrs=192.0.2.0/24,fd00::/64", "--ipvs-strict-arp", "--ipvs-tcp-timeout=15m",
			"--ipvs-tcpfin-timeout=1s", "--ipvs-udp-timeout=5m", "--ipvs-drain-timeout=0", "--ipvs-mark-bit=5", "--ipvs-sync-period=1m", "--ipvs-min-sync-period=1m"}, nil},
		{"an unknown scheduler", []string{"--proxy-mode=ipvs", "--ipvs-scheduler=fastest"}, []string{"--ipvs-scheduler", `"fastest"`, "rr, wrr"}},
		{"invalid settings of ipvs mode, in iptables mode", []string{"--ipvs-scheduler=fastest", "--ipvs-sync-period=0", "--ipvs-mark-bit=32", "--ipvs-tcp-timeout=-1s"}, nil},
		{"invalid periods of iptables mode, in ipvs mode", []string{"--proxy-mode=ipvs", "--iptables-sync-period=0"}, nil},
		{"no sync period of ipvs mode", []string{"--proxy-mode=ipvs", "--ipvs-sync-period=0"}, []string{"--ipvs-sync-period"}},
		{"a minimum period of ipvs mode longer than the period", []string{"--proxy-mode=ipvs", "--ipvs-min-sync-period=31s"}, []string{"--ipvs-min-sync-period", "--ipvs-sync-period (30s)"}},
		{"a negative minimum period of ipvs mode", []string{"--proxy-mode=ipvs", "--ipvs-min-sync-period=-1s"}, []string{"--ipvs-min-sync-period", "-1s"}},
		{"invalid excluded ranges", []string{"--proxy-mode=ipvs", "--ipvs-exclude-cidrs=192.0.2.0/24,192.0.2.1"}, []string{"--ipvs-exclude-cidrs", `"192.0.2.1"`}},
		{"negative timeouts", []string{"--proxy-mode=ipvs", "--ipvs-tcp-timeout=-1s", "--ipvs-drain-timeout=-1s"}, []string{"--ipvs-tcp-timeout: -1s", "--ipvs-drain-timeout: -1s"}},
		{"timeouts that are not whole seconds", []string{"--proxy-mode=ipvs", "--ipvs-tcpfin-timeout=500ms", "--ipvs-udp-timeout=1500ms"}, []string{"--ipvs-tcpfin-timeout: 500ms", "--ipvs-udp-timeout: 1.5s"}},
		{"a timeout longer than the kernel can count", []string{"--proxy-mode=ipvs", "--ipvs-tcp-timeout=600h"}, []string{"--ipvs-tcp-timeout: 600h0m0s"}},
		{"a bit for ipvs mode out of range", []string{"--proxy-mode=ipvs", "--ipvs-mark-bit=32"}, []string{"--ipvs-mark-bit", "32"}},
		{"the same bit twice", []string{"--proxy-mode=ipvs", "--ipvs-mark-bit=14"}, []string{"--ipvs-mark-bit", "14", "--iptables-masquerade-bit"}},
		{"the same bit twice, of which one is not used", []string{"--iptables-masquerade-bit=12"}, nil},
		{"files and an API server", []string{"--manifests=.", "--kubeconfig=x"}, []string{"--manifests", "--kubeconfig"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := parseFlags(t, test.args...).Validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error: %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestNodeNameIsLowerCase(t *testing.T) {
	name, err := parseFlags(t, "--hostname-override= Node-1 ").NodeName()
	if err != nil || name != "node-1" {
		t.Errorf("got %q, %v", name, err)
	}
}

func TestAddressesToListenOn(t *testing.T) {
	tests := []struct {
		name             string
		args             []string
		set              func(*HTTP) // nil: nothing
		healthz, metrics string      // empty: not served
	}{
		{"the defaults", nil, nil, "0.0.0.0:10256", "127.0.0.1:10249"},
		{"an empty flag leaves the default, as in kube-proxy", []string{"--healthz-bind-address=", "--metrics-bind-address="}, nil, "0.0.0.0:10256", "127.0.0.1:10249"},
		{"addresses and ports", []string{"--healthz-bind-address=[::1]:1", "--metrics-bind-address=192.0.2.1:65535"}, nil, "[::1]:1", "192.0.2.1:65535"},
		{"the default ports", []string{"--healthz-bind-address=::", "--metrics-bind-address=192.0.2.1"}, nil, "[::]:10256", "192.0.2.1:10249"},
		{"turned off by a program that embeds Fairlead", nil, func(h *HTTP) { *h = HTTP{} }, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := parseFlags(t, test.args...)
			if test.set != nil {
				test.set(&c.HTTP)
			}
			s, err := c.Settings()
			if err != nil {
				t.Fatal(err)
			}
			for _, server := range []struct {
				name, want string
				got        netip.AddrPort
			}{{"health checks", test.healthz, s.Healthz}, {"metrics", test.metrics, s.Metrics}} {
				if server.got.IsValid() != (server.want != "") || server.got.IsValid() && server.got.String() != server.want {
					t.Errorf("%s: got %s, want %q", server.name, server.got, server.want)
				}
			}
		})
	}
}
