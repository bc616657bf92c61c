package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// setting is one setting, with its flag and its field in a file.
type setting struct {
	flag  string
	field string // its path in a KubeProxyConfiguration, or in a FairleadConfiguration if own is set; empty: in no file
	own   bool   // kube-proxy does not have it
	// beside: the flag applies even with --config.
	beside bool
	// live: a change applies without a restart.
	live bool
}

// settings lists all settings. AddFlags adds a flag for each.
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
	{flag: "service-counters", field: "serviceCounters", own: true, beside: true},
	{flag: "iptables-variant", field: "iptables.variant", own: true, beside: true},
	{flag: "ipvs-drain-timeout", field: "ipvs.drainTimeout", own: true, beside: true},
	{flag: "ipvs-mark-bit", field: "ipvs.markBit", own: true, beside: true},
	{flag: "conntrack-delete-unreplied-tcp", field: "conntrack.deleteUnrepliedTCP", own: true, beside: true},
}

// replacedByNFTables lists the settings that replaceNFTables takes from kube-proxy's settings of nftables mode.
var replacedByNFTables = []string{"masquerade-all", "iptables-masquerade-bit", "iptables-sync-period", "iptables-min-sync-period"}

// settingOf returns the setting of a flag, and whether there is one.
func settingOf(flag string) (setting, bool) {
	for _, s := range settings {
		if s.flag == flag {
			return s, true
		}
	}
	return setting{}, false
}

// flags returns the settings as flags, to read their values as text. Setting a flag changes c.
func (c *Config) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.AddFlags(fs)
	return fs
}

// origin is where settings come from. The zero origin is flags only.
type origin struct {
	file string
	// overridden lists the settings whose flag has overridden the file.
	overridden map[string]bool
	// nftables: the file configures nftables mode, see replaceNFTables.
	nftables bool
}

// Named returns the name that the user knows a setting by: the flag, or the field of the file that it comes from.
func (c *Config) Named(flag string) string {
	s, ok := settingOf(flag)
	if !ok || s.field == "" || c.origin.file == "" || c.origin.overridden[flag] {
		return "--" + flag
	}
	path := s.path()
	if c.origin.nftables && slices.Contains(replacedByNFTables, flag) {
		path = strings.Replace(path, "iptables.", "nftables.", 1)
	}
	return c.origin.file + ": " + path
}

// path is the field of a setting, with the kind of the document if that is not kube-proxy's.
func (s setting) path() string {
	if s.own {
		return fmt.Sprintf("%s (in %s)", s.field, ownKind)
	}
	return s.field
}

// differing returns the settings that differ between two configurations.
func differing(former, next *Config) []setting {
	var all []setting
	a, b := *former, *next // flags writes to them, and others may be reading the originals
	before, after := a.flags(), b.flags()
	for _, s := range settings {
		if before.Lookup(s.flag).Value.String() != after.Lookup(s.flag).Value.String() {
			all = append(all, s)
		}
	}
	return all
}

// ofIPVS reports whether a setting only matters in ipvs mode.
func (s setting) ofIPVS() bool { return strings.HasPrefix(s.flag, "ipvs-") }
