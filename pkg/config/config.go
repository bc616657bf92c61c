// Package config holds Fairlead's settings, and reads them from flags and from the file that kube-proxy reads. What kube-proxy has
// too bears the same name and means the same.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// Mode is the way in which traffic is forwarded.
type Mode string

// The modes.
const (
	ModeIPTables Mode = "iptables" // by iptables rules
	ModeIPVS     Mode = "ipvs"     // by the kernel's load balancer IPVS
)

// Modes lists the modes that there are. This is the one place that names them all.
var Modes = []Mode{ModeIPTables, ModeIPVS}

// Config is all that can be set.
type Config struct {
	Kubeconfig string
	Master     string
	Client     Client
	// Manifests is a folder to read objects from instead of an API server.
	Manifests        string
	HostnameOverride string
	ConfigSyncPeriod time.Duration

	Mode              Mode
	DetectLocalMode   DetectLocalMode
	ClusterCIDR       string
	BridgeInterface   string
	InterfacePrefix   string
	NodePortAddresses []string
	MasqueradeAll     bool
	// MasqueradeAddress says which of the node's addresses masquerading uses.
	MasqueradeAddress MasqueradeAddress
	// DropInvalid says whether forwarded packets that conntrack finds invalid are dropped.
	DropInvalid DropInvalid
	IPTables    IPTables
	IPVS        IPVS
	Conntrack   Conntrack
	HTTP        HTTP
	Logging     Logging
	// OOMScoreAdj says how much the kernel spares this process when memory runs out, from -1000, never end it, to 1000.
	OOMScoreAdj int
	// TakeOver: what a stopped kube-proxy has left on the node is removed.
	TakeOver bool
	// InitOnly: what needs full root is done, and nothing else.
	InitOnly bool

	origin origin
}

// DetectLocalMode is the way in which pods are told from everybody else.
type DetectLocalMode string

// The ways to tell pods, by kube-proxy's names.
const (
	ByClusterCIDR     DetectLocalMode = "ClusterCIDR"
	ByNodeCIDR        DetectLocalMode = "NodeCIDR"
	ByBridgeInterface DetectLocalMode = "BridgeInterface"
	ByInterfacePrefix DetectLocalMode = "InterfaceNamePrefix"
)

var detectLocalModes = []DetectLocalMode{ByClusterCIDR, ByNodeCIDR, ByBridgeInterface, ByInterfacePrefix}

// MasqueradeAddress is a choice among the node's addresses.
type MasqueradeAddress string

// The addresses that masquerading can use.
const (
	MasqueradeByRoute    MasqueradeAddress = "route"
	MasqueradeInternalIP MasqueradeAddress = "internal-ip"
)

var masqueradeAddresses = []MasqueradeAddress{MasqueradeByRoute, MasqueradeInternalIP}

// DropInvalid is on, off, or as the kernel's own tolerance says.
type DropInvalid string

// The values of DropInvalid.
const (
	DropInvalidOn   DropInvalid = "on"
	DropInvalidOff  DropInvalid = "off"
	DropInvalidAuto DropInvalid = "auto"
)

var dropInvalids = []DropInvalid{DropInvalidOn, DropInvalidOff, DropInvalidAuto}

// IPTables is what can be set for iptables mode.
type IPTables struct {
	Variant string
	// MasqueradeBit holds in every mode: all of them leave masquerading to iptables.
	MasqueradeBit int
	// LocalhostNodePorts: node ports answer on 127.0.0.1 too.
	LocalhostNodePorts bool
	SyncPeriod         time.Duration
	MinSyncPeriod      time.Duration
}

// Conntrack is what can be set for the kernel's connection tracking.
type Conntrack struct {
	MaxPerCore int // 0: leave as it is
	Min        int
	// Timeouts; 0: leave as they are.
	TCPEstablished, TCPCloseWait, UDP, UDPStream time.Duration
	TCPBeLiberal                                 bool
	// DeleteUnrepliedTCP deletes attempts to connect to endpoints that are gone.
	DeleteUnrepliedTCP bool
}

// Default returns the settings that hold where nothing is said, which are kube-proxy's.
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
		IPVS:      defaultIPVS(),
		Conntrack: Conntrack{MaxPerCore: 32 << 10, Min: 128 << 10, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
		Client:    defaultClient(),
		HTTP:      defaultHTTP(),
		// As kube-proxy: nearly never ended.
		OOMScoreAdj: -999,
		TakeOver:    true,
	}
}

// SyncPeriod is how often the kernel is compared with what it should hold, in the chosen mode.
func (c *Config) SyncPeriod() time.Duration {
	if c.Mode == ModeIPVS {
		return c.IPVS.SyncPeriod
	}
	return c.IPTables.SyncPeriod
}

// MinSyncPeriod is the least time between two changes of the kernel, in the chosen mode.
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

// Pods reads the ranges of pod addresses, by family, where pods are told by them. A family that is not named is not in the result.
func (c *Config) Pods() (map[service.Family]netip.Prefix, error) {
	ranges := map[service.Family]netip.Prefix{}
	if c.ClusterCIDR == "" || c.DetectLocalMode != ByClusterCIDR {
		return ranges, nil
	}
	for text := range strings.SplitSeq(c.ClusterCIDR, ",") {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a range of addresses such as 10.244.0.0/16", c.Named("cluster-cidr"), text)
		}
		family := service.FamilyOf(prefix.Addr())
		if _, twice := ranges[family]; twice {
			return nil, fmt.Errorf("%s: %q has two ranges of %s, and only one is possible", c.Named("cluster-cidr"), c.ClusterCIDR, family)
		}
		ranges[family] = prefix.Masked()
	}
	return ranges, nil
}

// NodeName is the name of the own Node: as given, or the host's. Kubernetes names are in lower case.
func (c *Config) NodeName() (string, error) {
	name := c.HostnameOverride
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("find the host name; --hostname-override can give the node's name instead: %w", err)
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}
