// Package config holds Fairlead's settings, and the flags that set them. A flag that kube-proxy has too bears the same name
// and means the same.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/service"
)

// Mode is the way in which traffic is forwarded.
type Mode string

// ModeIPTables forwards by iptables rules.
const ModeIPTables Mode = "iptables"

// Modes lists the modes that there are. This is the one place that names them all.
var Modes = []Mode{ModeIPTables}

// Config is all that can be set.
type Config struct {
	Kubeconfig string
	Master     string
	// Manifests is a folder to read objects from instead of an API server.
	Manifests        string
	HostnameOverride string
	ConfigSyncPeriod time.Duration

	Mode          Mode
	ClusterCIDR   string
	MasqueradeAll bool
	IPTables      IPTables
	Conntrack     Conntrack
}

// IPTables is what can be set for iptables mode.
type IPTables struct {
	Variant       string
	MasqueradeBit int
	SyncPeriod    time.Duration
	MinSyncPeriod time.Duration
}

// Conntrack is what can be set for the kernel's connection tracking.
type Conntrack struct {
	MaxPerCore int // 0: leave as it is
	Min        int
}

// Default returns the settings that hold where nothing is said, which are kube-proxy's.
func Default() *Config {
	return &Config{
		Mode:             ModeIPTables,
		ConfigSyncPeriod: 15 * time.Minute,
		IPTables:         IPTables{Variant: string(iptables.Auto), MasqueradeBit: 14, SyncPeriod: 30 * time.Second, MinSyncPeriod: time.Second},
		Conntrack:        Conntrack{MaxPerCore: 32 << 10, Min: 128 << 10},
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
	fs.BoolVar(&c.MasqueradeAll, "masquerade-all", c.MasqueradeAll, "masquerade everything that goes to a cluster IP")
	fs.StringVar(&c.IPTables.Variant, "iptables-variant", c.IPTables.Variant, "which iptables programs to use: "+oneOf(iptables.Variants)+"; auto: those that the node's other programs use")
	fs.IntVar(&c.IPTables.MasqueradeBit, "iptables-masquerade-bit", c.IPTables.MasqueradeBit, "bit of the packet mark that asks for masquerading, 0 to 31; nothing else on the node may use it")
	fs.DurationVar(&c.IPTables.SyncPeriod, "iptables-sync-period", c.IPTables.SyncPeriod, "how often the rules in the kernel are compared with what they should be")
	fs.DurationVar(&c.IPTables.MinSyncPeriod, "iptables-min-sync-period", c.IPTables.MinSyncPeriod, "least time from the end of one change of the rules to the start of the next")
	fs.IntVar(&c.Conntrack.MaxPerCore, "conntrack-max-per-core", c.Conntrack.MaxPerCore, "how many connections the kernel shall be able to track, for each CPU; 0: leave as it is. A higher limit is never lowered")
	fs.IntVar(&c.Conntrack.Min, "conntrack-min", c.Conntrack.Min, "how many connections the kernel shall be able to track at least, whatever --conntrack-max-per-core says")
}

func oneOf[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}

// Validate returns all that is wrong with the settings, each with the flag that sets it.
func (c *Config) Validate() error {
	var wrong []error
	fail := func(flag, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("--"+flag+": "+format, args...))
	}
	if !slices.Contains(Modes, c.Mode) {
		fail("proxy-mode", "%q is not one of %s", c.Mode, oneOf(Modes))
	}
	if !slices.Contains(iptables.Variants, iptables.Variant(c.IPTables.Variant)) {
		fail("iptables-variant", "%q is not one of %s", c.IPTables.Variant, oneOf(iptables.Variants))
	}
	if c.IPTables.MasqueradeBit < 0 || c.IPTables.MasqueradeBit > 31 {
		fail("iptables-masquerade-bit", "%d is not between 0 and 31", c.IPTables.MasqueradeBit)
	}
	if c.IPTables.SyncPeriod <= 0 {
		fail("iptables-sync-period", "%v is not more than 0", c.IPTables.SyncPeriod)
	}
	if c.IPTables.MinSyncPeriod < 0 || c.IPTables.MinSyncPeriod > c.IPTables.SyncPeriod {
		fail("iptables-min-sync-period", "%v is not between 0 and --iptables-sync-period, %v", c.IPTables.MinSyncPeriod, c.IPTables.SyncPeriod)
	}
	if c.Conntrack.MaxPerCore < 0 {
		fail("conntrack-max-per-core", "%d is less than 0", c.Conntrack.MaxPerCore)
	}
	if c.Conntrack.Min < 0 {
		fail("conntrack-min", "%d is less than 0", c.Conntrack.Min)
	}
	if c.Manifests != "" && (c.Kubeconfig != "" || c.Master != "") {
		fail("manifests", "cannot be used beside --kubeconfig and --master: objects come either from files or from an API server")
	}
	if _, err := c.Pods(); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
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
