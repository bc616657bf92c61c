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

// findings collects what is wrong, each with the flag that sets it.
type findings []error

func (f *findings) add(flag, format string, args ...any) {
	*f = append(*f, fmt.Errorf("--"+flag+": "+format, args...))
}

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

// Validate returns all that is wrong with the settings.
func (c *Config) Validate() error {
	var f findings
	oneFrom(&f, "proxy-mode", c.Mode, Modes)
	oneFrom(&f, "masquerade-address", c.MasqueradeAddress, masqueradeAddresses)
	oneFrom(&f, "drop-invalid", c.DropInvalid, dropInvalids)
	if c.Manifests != "" && (c.Kubeconfig != "" || c.Master != "") {
		f.add("manifests", "cannot be used beside --kubeconfig and --master: objects come either from files or from an API server")
	}
	c.validateDetection(&f)
	if _, err := node.ParseSelection(c.NodePortAddresses); err != nil {
		f.add("nodeport-addresses", "%w", err)
	}
	c.IPTables.validate(&f)
	c.IPVS.validate(&f)
	// The bits may be the same where one of them is not used: an iptables node with another masquerade bit has to go on.
	if c.Mode == ModeIPVS && c.IPVS.MarkBit == c.IPTables.MasqueradeBit {
		f.add("ipvs-mark-bit", "%d is the bit of --iptables-masquerade-bit already; give one of them another bit", c.IPVS.MarkBit)
	}
	c.Conntrack.validate(&f)
	return errors.Join(f...)
}

func (c *Config) validateDetection(f *findings) {
	oneFrom(f, "detect-local-mode", c.DetectLocalMode, detectLocalModes)
	if c.DetectLocalMode == ByBridgeInterface && c.BridgeInterface == "" {
		f.add("pod-bridge-interface", "is needed by --detect-local-mode=%s", c.DetectLocalMode)
	}
	if c.DetectLocalMode == ByInterfacePrefix && c.InterfacePrefix == "" {
		f.add("pod-interface-name-prefix", "is needed by --detect-local-mode=%s", c.DetectLocalMode)
	}
	// An interface's name has 15 characters at the most (IFNAMSIZ), and a prefix is shorter than a name.
	interfaceName(f, "pod-bridge-interface", c.BridgeInterface, 15)
	interfaceName(f, "pod-interface-name-prefix", c.InterfacePrefix, 14)
	if _, err := c.Pods(); err != nil {
		*f = append(*f, err)
	}
}

func interfaceName(f *findings, flag, name string, longest int) {
	if len(name) > longest || strings.ContainsAny(name, " \t\n/!+\"'") {
		f.add(flag, "%q cannot be in the name of an interface", name)
	}
}

func (c *IPTables) validate(f *findings) {
	oneFrom(f, "iptables-variant", xtables.Variant(c.Variant), xtables.Variants)
	markBit(f, "iptables-masquerade-bit", c.MasqueradeBit)
	periods(f, "iptables", c.SyncPeriod, c.MinSyncPeriod)
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
		f.add(mode+"-min-sync-period", "%v is not between 0 and --%s-sync-period, %v", least, mode, usual)
	}
}

func (c *Conntrack) validate(f *findings) {
	notNegative(f, "conntrack-max-per-core", c.MaxPerCore)
	notNegative(f, "conntrack-min", c.Min)
	for flag, timeout := range map[string]time.Duration{
		"conntrack-tcp-timeout-established": c.TCPEstablished, "conntrack-tcp-timeout-close-wait": c.TCPCloseWait,
		"conntrack-udp-timeout": c.UDP, "conntrack-udp-timeout-stream": c.UDPStream,
	} {
		notNegative(f, flag, timeout)
	}
}
