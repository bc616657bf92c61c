package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// setting is one thing that can be set, by a flag and by a field of a file.
type setting struct {
	flag  string
	field string // its path in a KubeProxyConfiguration, or in a FairleadConfiguration where own is set; empty: in no file
	own   bool   // kube-proxy does not have it
	// beside: the flag holds even where there is a file.
	beside bool
	// live: a change is taken up without a restart.
	live bool
}

// settings lists all of them. AddFlags has a flag for each.
var settings = []setting{
	{flag: "proxy-mode", field: "mode", live: true},
	{flag: "kubeconfig", field: "clientConnection.kubeconfig"},
	{flag: "master", beside: true},
	{flag: "kube-api-content-type", field: "clientConnection.contentType"},
	{flag: "kube-api-accept-content-types", field: "clientConnection.acceptContentTypes", beside: true},
	{flag: "kube-api-qps", field: "clientConnection.qps"},
	{flag: "kube-api-burst", field: "clientConnection.burst"},
	{flag: "hostname-override", field: "hostnameOverride", beside: true},
	{flag: "config-sync-period", field: "configSyncPeriod"},
	{flag: "detect-local-mode", field: "detectLocalMode"},
	{flag: "cluster-cidr", field: "clusterCIDR"},
	{flag: "pod-bridge-interface", field: "detectLocal.bridgeInterface"},
	{flag: "pod-interface-name-prefix", field: "detectLocal.interfaceNamePrefix"},
	{flag: "nodeport-addresses", field: "nodePortAddresses"},
	{flag: "masquerade-all", field: "iptables.masqueradeAll"},
	{flag: "iptables-masquerade-bit", field: "iptables.masqueradeBit"},
	{flag: "iptables-localhost-nodeports", field: "iptables.localhostNodePorts"},
	{flag: "iptables-sync-period", field: "iptables.syncPeriod", live: true},
	{flag: "iptables-min-sync-period", field: "iptables.minSyncPeriod", live: true},
	{flag: "ipvs-scheduler", field: "ipvs.scheduler"},
	{flag: "ipvs-sync-period", field: "ipvs.syncPeriod", live: true},
	{flag: "ipvs-min-sync-period", field: "ipvs.minSyncPeriod", live: true},
	{flag: "ipvs-exclude-cidrs", field: "ipvs.excludeCIDRs"},
	{flag: "ipvs-strict-arp", field: "ipvs.strictARP"},
	{flag: "ipvs-tcp-timeout", field: "ipvs.tcpTimeout"},
	{flag: "ipvs-tcpfin-timeout", field: "ipvs.tcpFinTimeout"},
	{flag: "ipvs-udp-timeout", field: "ipvs.udpTimeout"},
	{flag: "conntrack-max-per-core", field: "conntrack.maxPerCore"},
	{flag: "conntrack-min", field: "conntrack.min"},
	{flag: "conntrack-tcp-timeout-established", field: "conntrack.tcpEstablishedTimeout"},
	{flag: "conntrack-tcp-timeout-close-wait", field: "conntrack.tcpCloseWaitTimeout"},
	{flag: "conntrack-tcp-be-liberal", field: "conntrack.tcpBeLiberal"},
	{flag: "conntrack-udp-timeout", field: "conntrack.udpTimeout"},
	{flag: "conntrack-udp-timeout-stream", field: "conntrack.udpStreamTimeout"},
	{flag: "healthz-bind-address", field: "healthzBindAddress"},
	{flag: "metrics-bind-address", field: "metricsBindAddress"},
	{flag: "bind-address-hard-fail", field: "bindAddressHardFail"},
	{flag: "profiling", field: "enableProfiling"},
	{flag: "oom-score-adj", field: "oomScoreAdj"},
	{flag: "init-only", beside: true},

	{flag: "manifests", field: "manifests", own: true, beside: true},
	{flag: "take-over", field: "takeOver", own: true, beside: true},
	{flag: "masquerade-address", field: "masqueradeAddress", own: true, beside: true},
	{flag: "drop-invalid", field: "dropInvalid", own: true, beside: true},
	{flag: "iptables-variant", field: "iptables.variant", own: true, beside: true},
	{flag: "ipvs-drain-timeout", field: "ipvs.drainTimeout", own: true, beside: true},
	{flag: "ipvs-mark-bit", field: "ipvs.markBit", own: true, beside: true},
	{flag: "conntrack-delete-unreplied-tcp", field: "conntrack.deleteUnrepliedTCP", own: true, beside: true},
}

// settingOf returns the setting of a flag, and whether there is one.
func settingOf(flag string) (setting, bool) {
	for _, s := range settings {
		if s.flag == flag {
			return s, true
		}
	}
	return setting{}, false
}

// flags returns the settings as flags, for their values as texts. Setting one sets it in c.
func (c *Config) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.AddFlags(fs)
	return fs
}

// origin is where settings come from. The zero origin is flags alone.
type origin struct {
	file string
	// overridden: these come from a flag in spite of the file.
	overridden map[string]bool
}

// Named returns what whoever wrote a setting calls it: the flag, or the field of the file that it comes from.
func (c *Config) Named(flag string) string {
	s, ok := settingOf(flag)
	if !ok || s.field == "" || c.origin.file == "" || c.origin.overridden[flag] {
		return "--" + flag
	}
	return c.origin.file + ": " + s.path()
}

// path is the field that a setting has in a file, told from that of another document by the document's kind.
func (s setting) path() string {
	if s.own {
		return fmt.Sprintf("%s (in %s)", s.field, ownKind)
	}
	return s.field
}

// differing returns the settings that are not the same in two configurations.
func differing(was, is *Config) []setting {
	var all []setting
	one, other := *was, *is // to make flags of settings writes to them, and others may be reading these
	before, now := one.flags(), other.flags()
	for _, s := range settings {
		if before.Lookup(s.flag).Value.String() != now.Lookup(s.flag).Value.String() {
			all = append(all, s)
		}
	}
	return all
}

// ofIPVS reports whether a setting matters in ipvs mode alone.
func (s setting) ofIPVS() bool { return strings.HasPrefix(s.flag, "ipvs-") }
