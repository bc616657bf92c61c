package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// findings collects what is wrong, each under the name that whoever set it knows it by.
type findings struct {
	named func(flag string) string
	errs  []error
}

func (f *findings) add(flag, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: "+format, append([]any{f.named(flag)}, args...)...))
}

func (f *findings) err() error { return errors.Join(f.errs...) }

func oneFrom[T ~string](f *findings, flag string, value T, values []T) {
	if !slices.Contains(values, value) {
		f.add(flag, "%q is not one of %s", value, oneOf(values))
	}
}

func notNegative[T ~int | ~int64](f *findings, flag string, value T) {
	if value < 0 {
		f.add(flag, "%v is less than 0", value)
	}
}

// Validate returns all that is wrong with the settings that are in use: what only another mode needs may be wrong until the mode is
// asked for.
func (c *Config) Validate() error {
	f := findings{named: c.Named}
	c.Mode.validate(&f)
	oneFrom(&f, "masquerade-address", c.MasqueradeAddress, masqueradeAddresses)
	oneFrom(&f, "drop-invalid", c.DropInvalid, dropInvalids)
	if c.Manifests != "" && (c.Kubeconfig != "" || c.Master != "") {
		f.add("manifests", "cannot be used beside %s and --master: objects come either from files or from an API server", c.Named("kubeconfig"))
	}
	if c.ConfigSyncPeriod <= 0 {
		f.add("config-sync-period", "%v is not more than 0", c.ConfigSyncPeriod)
	}
	if c.OOMScoreAdj < -1000 || c.OOMScoreAdj > 1000 {
		f.add("oom-score-adj", "%d is not between -1000 and 1000", c.OOMScoreAdj)
	}
	c.Client.validate(&f)
	c.validateDetection(&f)
	if _, err := node.ParseSelection(c.NodePortAddresses); err != nil {
		f.add("nodeport-addresses", "%w", err)
	}
	c.IPTables.validate(&f)
	c.validateMode(&f)
	c.Conntrack.validate(&f)
	c.HTTP.validate(&f)
	return f.err()
}

// validateMode checks what only the chosen mode needs.
func (c *Config) validateMode(f *findings) {
	if c.Mode != ModeIPVS {
		periods(f, "iptables", c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod)
		return
	}
	c.IPVS.validate(f)
	if c.IPVS.MarkBit == c.IPTables.MasqueradeBit {
		f.add("ipvs-mark-bit", "%d is the bit of %s already; give one of them another bit", c.IPVS.MarkBit, c.Named("iptables-masquerade-bit"))
	}
}

func (c *Config) validateDetection(f *findings) {
	oneFrom(f, "detect-local-mode", c.DetectLocalMode, detectLocalModes)
	if _, err := c.Pods(); err != nil {
		f.errs = append(f.errs, err)
	}
	// An interface's name has 15 characters at the most (IFNAMSIZ), and a prefix is shorter than a name.
	switch c.DetectLocalMode {
	case ByBridgeInterface:
		c.interfaceName(f, "pod-bridge-interface", c.BridgeInterface, 15)
	case ByInterfacePrefix:
		c.interfaceName(f, "pod-interface-name-prefix", c.InterfacePrefix, 14)
	}
}

func (c *Config) interfaceName(f *findings, flag, name string, longest int) {
	if name == "" {
		f.add(flag, "is needed where %s is %s", c.Named("detect-local-mode"), c.DetectLocalMode)
	}
	if len(name) > longest || strings.ContainsAny(name, " \t\n/!+\"'") {
		f.add(flag, "%q cannot be in the name of an interface", name)
	}
}

func (c *IPTables) validate(f *findings) {
	oneFrom(f, "iptables-variant", xtables.Variant(c.Variant), xtables.Variants)
	markBit(f, "iptables-masquerade-bit", c.MasqueradeBit)
}

func markBit(f *findings, flag string, bit int) {
	if bit < 0 || bit > 31 {
		f.add(flag, "%d is not between 0 and 31", bit)
	}
}

// periods checks the periods of a mode, whose flags begin with its name.
func periods(f *findings, mode string, usual, least time.Duration) {
	if usual <= 0 {
		f.add(mode+"-sync-period", "%v is not more than 0", usual)
	}
	if least < 0 || least > usual {
		f.add(mode+"-min-sync-period", "%v is not between 0 and %s, %v", least, f.named(mode+"-sync-period"), usual)
	}
}

func (c *Conntrack) validate(f *findings) {
	notNegative(f, "conntrack-max-per-core", c.MaxPerCore)
	notNegative(f, "conntrack-min", c.Min)
	notNegative(f, "conntrack-tcp-timeout-established", c.TCPEstablished)
	notNegative(f, "conntrack-tcp-timeout-close-wait", c.TCPCloseWait)
	notNegative(f, "conntrack-udp-timeout", c.UDP)
	notNegative(f, "conntrack-udp-timeout-stream", c.UDPStream)
}
