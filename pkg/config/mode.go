package config

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/kube-proxy/config/v1alpha1"
)

// Mode is how traffic is forwarded.
type Mode string

// The modes.
const (
	ModeIPTables Mode = "iptables" // by iptables rules
	ModeIPVS     Mode = "ipvs"     // by IPVS, the kernel's load balancer
	// ModeAuto is one of the others, chosen at start: the mode that already serves on the node if its kernel supports it, or else iptables.
	ModeAuto Mode = "auto"

	// modeNFTables is a mode of kube-proxy's, see replaceNFTables.
	modeNFTables Mode = "nftables"
)

// Modes lists the modes that forward traffic: all but ModeAuto. No other code lists them.
var Modes = []Mode{ModeIPTables, ModeIPVS}

// choices lists what can be configured.
var choices = append(slices.Clone(Modes), ModeAuto)

// uses reports whether the settings of mode m matter if mode c is configured.
func (c Mode) uses(m Mode) bool { return c == m || c == ModeAuto }

func (c Mode) validate(f *findings) {
	oneFrom(f, "proxy-mode", c, choices)
}

// replaceNFTables replaces kube-proxy's nftables mode, which Fairlead does not have, by iptables mode. A node pool that is configured
// for nftables is served, instead of left without a proxy. The settings of nftables mode apply, with its defaults: node ports on the
// node's primary addresses, and not on localhost. k is the part of the file that has them, or nil without a file.
func (c *Config) replaceNFTables(k *v1alpha1.KubeProxyNFTablesConfiguration) Notice {
	c.Mode = ModeIPTables
	c.IPTables.LocalhostNodePorts = false
	if len(c.NodePortAddresses) == 0 {
		c.NodePortAddresses = []string{"primary"}
	}
	if k != nil {
		defaults := Default().IPTables
		c.origin.nftables = true
		c.MasqueradeAll = k.MasqueradeAll
		c.IPTables.MasqueradeBit = defaults.MasqueradeBit
		overridePointer(&c.IPTables.MasqueradeBit, k.MasqueradeBit)
		c.IPTables.SyncPeriod = cmp.Or(k.SyncPeriod.Duration, defaults.SyncPeriod)
		c.IPTables.MinSyncPeriod = cmp.Or(k.MinSyncPeriod.Duration, defaults.MinSyncPeriod)
	}
	return Notice{"mode", fmt.Sprintf("Fairlead has no %s mode and serves in %s mode instead, with the settings of %s mode", modeNFTables, c.Mode, modeNFTables)}
}

// modeValue is a mode as a flag. It rejects two different modes.
type modeValue struct {
	mode *Mode
	set  bool
}

func (v *modeValue) String() string {
	if v.mode == nil {
		return ""
	}
	return string(*v.mode)
}

func (v *modeValue) Set(text string) error {
	if text == "" {
		text = string(ModeIPTables)
	}
	if v.set && text != string(*v.mode) {
		return fmt.Errorf("%s and %s are both set; remove one of them", *v.mode, text)
	}
	*v.mode, v.set = Mode(text), true
	return nil
}

func (v *modeValue) Type() string { return "string" }
