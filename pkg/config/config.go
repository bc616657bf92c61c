// Package config holds Fairlead's settings and reads them from flags and from the file that kube-proxy reads. Settings that kube-proxy
// has too have the same names and meanings.
//
// It is meant for other programs too, see package fairlead: [Default], [Config] with its exported fields, [Config.Validate], [Parse] and
// the types of the fields do not change incompatibly within a major version. The rest serves the command fairlead and may change at any
// time.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Config holds all settings. Start from Default: the zero Config is not valid.
type Config struct {
	// Kubeconfig is a file that describes how to reach the API server. If it and Master are empty, Fairlead connects as a pod does.
	Kubeconfig string
	// Master is the URL of the API server, and overrides the one in Kubeconfig.
	Master string
	Client Client
	// Manifests is a folder to read objects from instead of an API server.
	Manifests string
	// HostnameOverride is the name of this node's Node object. Empty: the host name.
	HostnameOverride string
	// ConfigSyncPeriod has no effect; it is there because kube-proxy has it.
	ConfigSyncPeriod time.Duration

	Mode Mode
	// DetectLocalMode is how pod traffic is distinguished from all other traffic.
	DetectLocalMode DetectLocalMode
	// ClusterCIDR is at most one range of pod addresses for each IP family, separated by a comma, for DetectLocalMode ClusterCIDR.
	ClusterCIDR string
	// BridgeInterface is the interface that packets from pods arrive on, for DetectLocalMode BridgeInterface.
	BridgeInterface string
	// InterfacePrefix starts the names of the interfaces that packets from pods arrive on, for DetectLocalMode InterfaceNamePrefix.
	InterfacePrefix string
	// NodePortAddresses are ranges of the node's addresses that node ports answer on, or the words "primary", "localhost" and "all". Empty: all.
	NodePortAddresses []string
	// MasqueradeAll masquerades all traffic to cluster IPs.
	MasqueradeAll bool
	// MasqueradeAddress is the node's address that masquerading uses.
	MasqueradeAddress MasqueradeAddress
	// DropInvalid is whether forwarded packets in conntrack state INVALID are dropped.
	DropInvalid DropInvalid
	// ServiceCounters counts the traffic of each Service port, for /metrics.
	ServiceCounters bool
	IPTables        IPTables
	IPVS            IPVS
	Conntrack       Conntrack
	HTTP            HTTP
	Logging         Logging
	// OOMScoreAdj is the process's oom_score_adj, from -1000 (never killed) to 1000.
	OOMScoreAdj int
	// TakeOver removes what a stopped kube-proxy has left on the node.
	TakeOver bool
	// InitOnly is for the command fairlead: it calls Init instead of Run.
	InitOnly bool

	origin origin
}

// DetectLocalMode is how pod traffic is distinguished from all other traffic.
type DetectLocalMode string

// The local traffic detectors, by kube-proxy's names.
const (
	ByClusterCIDR     DetectLocalMode = "ClusterCIDR"
	ByNodeCIDR        DetectLocalMode = "NodeCIDR"
	ByBridgeInterface DetectLocalMode = "BridgeInterface"
	ByInterfacePrefix DetectLocalMode = "InterfaceNamePrefix"
)

var detectLocalModes = []DetectLocalMode{ByClusterCIDR, ByNodeCIDR, ByBridgeInterface, ByInterfacePrefix}

// MasqueradeAddress selects one of the node's addresses.
type MasqueradeAddress string

// The addresses that masquerading can use.
const (
	MasqueradeByRoute    MasqueradeAddress = "route"       // of the interface that the packet leaves by
	MasqueradeInternalIP MasqueradeAddress = "internal-ip" // of the Node object
)

var masqueradeAddresses = []MasqueradeAddress{MasqueradeByRoute, MasqueradeInternalIP}

// DropInvalid is on, off or auto: on unless the kernel's nf_conntrack_tcp_be_liberal is set.
type DropInvalid string

// The values of DropInvalid.
const (
	DropInvalidOn   DropInvalid = "on"
	DropInvalidOff  DropInvalid = "off"
	DropInvalidAuto DropInvalid = "auto"
)

var dropInvalids = []DropInvalid{DropInvalidOn, DropInvalidOff, DropInvalidAuto}

// IPTables holds the settings of iptables mode.
type IPTables struct {
	// Variant is one of xtables.Variants: which iptables programs are used. It applies in all modes.
	Variant string
	// MasqueradeBit is the bit of the packet mark that requests masquerading. It applies in all modes.
	MasqueradeBit int
	// LocalhostNodePorts makes node ports answer on 127.0.0.1 too.
	LocalhostNodePorts bool
	// SyncPeriod is how often the rules in the kernel are compared with the desired ones.
	SyncPeriod time.Duration
	// MinSyncPeriod is the minimum time from the end of one sync to the start of the next.
	MinSyncPeriod time.Duration
}

// Conntrack holds the settings of the kernel's connection tracking.
type Conntrack struct {
	// MaxPerCore is the number of connections to track for each CPU, and Min the minimum for the node. MaxPerCore 0 leaves the limit alone.
	MaxPerCore, Min int
	// The timeouts of idle connections. 0 leaves them alone.
	TCPEstablished, TCPCloseWait, UDP, UDPStream time.Duration
	// TCPBeLiberal sets nf_conntrack_tcp_be_liberal.
	TCPBeLiberal bool
	// DeleteUnrepliedTCP deletes conntrack entries of connections to removed endpoints that were never answered.
	DeleteUnrepliedTCP bool
}

// Default returns the default settings, which are kube-proxy's.
func Default() *Config {
	return &Config{
		Mode:              ModeIPTables,
		DetectLocalMode:   ByClusterCIDR,
		MasqueradeAddress: MasqueradeByRoute,
		DropInvalid:       DropInvalidAuto,
		ConfigSyncPeriod:  15 * time.Minute,
		IPTables: IPTables{
			Variant: string(xtables.Auto), MasqueradeBit: 14, LocalhostNodePorts: true,
			SyncPeriod: 30 * time.Second, MinSyncPeriod: time.Second,
		},
		IPVS:        defaultIPVS(),
		Conntrack:   Conntrack{MaxPerCore: 32 << 10, Min: 128 << 10, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
		Client:      defaultClient(),
		HTTP:        defaultHTTP(),
		OOMScoreAdj: -999,
		TakeOver:    true,
	}
}

// SyncPeriod is how often the kernel is compared with the desired state in the configured mode.
func (c *Config) SyncPeriod() time.Duration {
	if c.Mode == ModeIPVS {
		return c.IPVS.SyncPeriod
	}
	return c.IPTables.SyncPeriod
}

// MinSyncPeriod is the minimum time from the end of one sync to the start of the next in the configured mode.
func (c *Config) MinSyncPeriod() time.Duration {
	if c.Mode == ModeIPVS {
		return c.IPVS.MinSyncPeriod
	}
	return c.IPTables.MinSyncPeriod
}

func oneOf[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}

// parsePodCIDRs returns the range of each IP family, if pods are detected by their address.
func (c *Config) parsePodCIDRs(f *findings) map[service.Family]netip.Prefix {
	ranges := map[service.Family]netip.Prefix{}
	if c.ClusterCIDR == "" || c.DetectLocalMode != ByClusterCIDR {
		return ranges
	}
	for text := range strings.SplitSeq(c.ClusterCIDR, ",") {
		prefix, err := parseRange(text, "10.244.0.0/16")
		if err != nil {
			f.add("cluster-cidr", "%w", err)
			continue
		}
		family := service.FamilyOf(prefix.Addr())
		if _, duplicate := ranges[family]; duplicate {
			f.add("cluster-cidr", "%q has two %s ranges; use at most one for each IP family", c.ClusterCIDR, family)
		}
		ranges[family] = prefix
	}
	return ranges
}

func (c *Config) parseNodePorts(f *findings) node.Selection {
	selection, err := node.ParseSelection(c.NodePortAddresses)
	if err != nil {
		f.add("nodeport-addresses", "%w", err)
	}
	return selection
}

// NodeName returns the name of this node's Node object: HostnameOverride or the host name, in lower case.
func (c *Config) NodeName() (string, error) {
	name := c.HostnameOverride
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("get the host name: %w; set --hostname-override to the name of the Node object", err)
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}
