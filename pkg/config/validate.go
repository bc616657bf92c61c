package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/pkg/xtables"
)

// findings collects what is wrong, each under the name of the flag or field that it was set by.
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
		f.add(flag, "%v is negative; use 0 or more", value)
	}
}

// validate checks the values that need no parsing, see Settings.
func (c *Config) validate(f *findings) {
	c.Mode.validate(f)
	oneFrom(f, "masquerade-address", c.MasqueradeAddress, masqueradeAddresses)
	oneFrom(f, "drop-invalid", c.DropInvalid, dropInvalids)
	if c.Manifests != "" && (c.Kubeconfig != "" || c.Master != "") {
		f.add("manifests", "cannot be combined with %s or --master; remove one of them", c.Named("kubeconfig"))
	}
	if c.ConfigSyncPeriod <= 0 {
		f.add("config-sync-period", "%v is not positive", c.ConfigSyncPeriod)
	}
	if c.OOMScoreAdj < -1000 || c.OOMScoreAdj > 1000 {
		f.add("oom-score-adj", "%d is not between -1000 and 1000", c.OOMScoreAdj)
	}
	c.Client.validate(f)
	c.validateDetection(f)
	c.IPTables.validate(f)
	if c.Mode.uses(ModeIPTables) {
		periods(f, "iptables", c.IPTables.SyncPeriod, c.IPTables.MinSyncPeriod)
	}
	if c.Mode.uses(ModeIPVS) {
		c.validateIPVS(f)
	}
	c.Conntrack.validate(f)
}

func (c *Config) validateIPVS(f *findings) {
	c.IPVS.validate(f)
	if c.IPVS.MarkBit == c.IPTables.MasqueradeBit {
		f.add("ipvs-mark-bit", "%d is already the bit of %s; use another bit for one of them", c.IPVS.MarkBit, c.Named("iptables-masquerade-bit"))
	}
}

func (c *Config) validateDetection(f *findings) {
	oneFrom(f, "detect-local-mode", c.DetectLocalMode, detectLocalModes)
	// The name of an interface has at most 15 characters (IFNAMSIZ), and a prefix is shorter than a name.
	switch c.DetectLocalMode {
	case ByBridgeInterface:
		c.interfaceName(f, "pod-bridge-interface", c.BridgeInterface, 15)
	case ByInterfacePrefix:
		c.interfaceName(f, "pod-interface-name-prefix", c.InterfacePrefix, 14)
	}
}

func (c *Config) interfaceName(f *findings, flag, name string, longest int) {
	if name == "" {
		f.add(flag, "must be set if %s is %s", c.Named("detect-local-mode"), c.DetectLocalMode)
	}
	if len(name) > longest || strings.ContainsAny(name, " \t\n/!+\"'") {
		f.add(flag, "%q cannot be part of the name of an interface", name)
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

// periods checks the periods of a mode, whose flags start with its name.
func periods(f *findings, mode string, sync, minSync time.Duration) {
	if sync <= 0 {
		f.add(mode+"-sync-period", "%v is not positive", sync)
	}
	if minSync < 0 || minSync > sync {
		f.add(mode+"-min-sync-period", "%v is not between 0 and %s (%v)", minSync, f.named(mode+"-sync-period"), sync)
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
