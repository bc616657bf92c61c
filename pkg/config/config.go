// Package config holds Fairlead's settings, and the flags that set them. A flag that kube-proxy has too bears the same name
// and means the same.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

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
	}
}

// AddFlags adds a flag for each setting.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "file that says how to reach the API server; empty: as a pod of the cluster does")
	fs.StringVar(&c.Master, "master", c.Master, "URL of the API server, instead of the one in --kubeconfig")
	fs.StringVar(&c.Manifests, "manifests", c.Manifests, "folder of YAML files to read Services, EndpointSlices and a Node from, instead of an API server")
	fs.StringVar(&c.HostnameOverride, "hostname-override", c.HostnameOverride, "name of this node's Node; empty: the host name")
	fs.DurationVar(&c.ConfigSyncPeriod, "config-sync-period", c.ConfigSyncPeriod, "how often all objects are looked at again")
	fs.StringVar((*string)(&c.Mode), "proxy-mode", string(c.Mode), "how traffic is forwarded: "+oneOf(Modes))
	fs.StringVar(&c.ClusterCIDR, "cluster-cidr", c.ClusterCIDR, "addresses of the cluster's pods, at most one range for each IP family, separated by a comma; traffic to a cluster IP from elsewhere is masqueraded")
	fs.StringVar((*string)(&c.DetectLocalMode), "detect-local-mode", string(c.DetectLocalMode), "how pods are told from everybody else: "+oneOf(detectLocalModes))
	fs.StringVar(&c.BridgeInterface, "pod-bridge-interface", c.BridgeInterface, "interface that packets of pods come in by, for --detect-local-mode=BridgeInterface")
	fs.StringVar(&c.InterfacePrefix, "pod-interface-name-prefix", c.InterfacePrefix, "what the names of interfaces begin with that packets of pods come in by, for --detect-local-mode=InterfaceNamePrefix")
	fs.StringSliceVar(&c.NodePortAddresses, "nodeport-addresses", c.NodePortAddresses, "ranges of the node's addresses that node ports answer on, and \"primary\" for those that its Node names; empty: all")
	fs.StringVar((*string)(&c.MasqueradeAddress), "masquerade-address", string(c.MasqueradeAddress), "which of the node's addresses masquerading uses: "+oneOf(masqueradeAddresses)+"; route: that of the interface a packet leaves by")
	fs.StringVar((*string)(&c.DropInvalid), "drop-invalid", string(c.DropInvalid), "whether forwarded packets that conntrack finds invalid are dropped: "+oneOf(dropInvalids)+"; auto: unless net.netfilter.nf_conntrack_tcp_be_liberal is set")
	fs.BoolVar(&c.MasqueradeAll, "masquerade-all", c.MasqueradeAll, "masquerade everything that goes to a cluster IP")
	fs.StringVar(&c.IPTables.Variant, "iptables-variant", c.IPTables.Variant, "which iptables programs to use: "+oneOf(xtables.Variants)+"; auto: those that the node's other programs use")
	fs.IntVar(&c.IPTables.MasqueradeBit, "iptables-masquerade-bit", c.IPTables.MasqueradeBit, "bit of the packet mark that asks for masquerading, 0 to 31, in every --proxy-mode; nothing else on the node may use it")
	fs.BoolVar(&c.IPTables.LocalhostNodePorts, "iptables-localhost-nodeports", c.IPTables.LocalhostNodePorts, "let node ports answer on 127.0.0.1 too")
	fs.DurationVar(&c.IPTables.SyncPeriod, "iptables-sync-period", c.IPTables.SyncPeriod, "how often the rules in the kernel are compared with what they should be")
	fs.DurationVar(&c.IPTables.MinSyncPeriod, "iptables-min-sync-period", c.IPTables.MinSyncPeriod, "least time from the end of one change of the rules to the start of the next")
	c.IPVS.addFlags(fs)
	fs.IntVar(&c.Conntrack.MaxPerCore, "conntrack-max-per-core", c.Conntrack.MaxPerCore, "how many connections the kernel shall be able to track, for each CPU; 0: leave as it is. A higher limit is never lowered")
	fs.DurationVar(&c.Conntrack.TCPEstablished, "conntrack-tcp-timeout-established", c.Conntrack.TCPEstablished, "how long a TCP connection may be idle before the kernel forgets it; 0: leave as it is")
	fs.DurationVar(&c.Conntrack.TCPCloseWait, "conntrack-tcp-timeout-close-wait", c.Conntrack.TCPCloseWait, "the same, for one that is half closed; 0: leave as it is")
	fs.DurationVar(&c.Conntrack.UDP, "conntrack-udp-timeout", c.Conntrack.UDP, "the same, for UDP without an answer; 0: leave as it is")
	fs.DurationVar(&c.Conntrack.UDPStream, "conntrack-udp-timeout-stream", c.Conntrack.UDPStream, "the same, for UDP with answers; 0: leave as it is")
	fs.BoolVar(&c.Conntrack.TCPBeLiberal, "conntrack-tcp-be-liberal", c.Conntrack.TCPBeLiberal, "let TCP packets pass that are out of their connection's window")
	fs.BoolVar(&c.Conntrack.DeleteUnrepliedTCP, "conntrack-delete-unreplied-tcp", c.Conntrack.DeleteUnrepliedTCP, "forget attempts to connect to endpoints that are gone, so that they are made anew")
	fs.IntVar(&c.Conntrack.Min, "conntrack-min", c.Conntrack.Min, "how many connections the kernel shall be able to track at least, whatever --conntrack-max-per-core says")
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

// Pods reads the ranges of pod addresses, by family. A family that is not named is not in the result.
func (c *Config) Pods() (map[service.Family]netip.Prefix, error) {
	ranges := map[service.Family]netip.Prefix{}
	if c.ClusterCIDR == "" {
		return ranges, nil
	}
	for text := range strings.SplitSeq(c.ClusterCIDR, ",") {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--cluster-cidr: %q is not a range of addresses such as 10.244.0.0/16", text)
		}
		family := service.FamilyOf(prefix.Addr())
		if _, twice := ranges[family]; twice {
			return nil, fmt.Errorf("--cluster-cidr: %q has two ranges of %s, and only one is possible", c.ClusterCIDR, family)
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
