package lab

import (
	"fmt"
	"os"
)

// hostSysctls are set in every namespace before it has interfaces, because
// new interfaces copy "default". They are written out even where they are
// the kernel's default: a new namespace copies some from the first one.
var hostSysctls = [][2]string{
	{"ipv4/conf/all/rp_filter", "0"},
	{"ipv4/conf/default/rp_filter", "0"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/default/send_redirects", "0"},
	{"ipv6/conf/all/disable_ipv6", "0"},
	{"ipv6/conf/default/disable_ipv6", "0"},
	{"ipv6/conf/all/accept_dad", "0"},
	{"ipv6/conf/default/accept_dad", "0"},
	{"ipv6/conf/all/accept_ra", "0"},
	{"ipv6/conf/default/accept_ra", "0"},
	{"ipv6/conf/default/router_solicitations", "0"},
	// Rejects must all arrive. The rate limit per destination is turned off
	// by ratelimit; the limit of the whole host, icmp_msgs_per_sec, holds for
	// IPv6 too and stays on unless the type is out of the mask.
	{"ipv4/icmp_ratelimit", "0"},
	{"ipv4/icmp_ratemask", "0"},
	{"ipv6/icmp/ratelimit", "0"},
	{"ipv6/icmp/ratemask", "\n"},
}

// routerSysctls make a host forward packets.
var routerSysctls = [][2]string{
	{"ipv4/ip_forward", "1"},
	{"ipv6/conf/all/forwarding", "1"},
}

// SetSysctl writes a file below /proc/sys/net in the host's namespace, for
// example SetSysctl("ipv4/ip_forward", "1").
func (h *Host) SetSysctl(path, value string) error {
	return h.setSysctls([][2]string{{path, value}})
}

func (h *Host) setSysctls(settings [][2]string) error {
	return h.Do(func() error { return writeSysctls(settings) })
}

func writeSysctls(settings [][2]string) error {
	for _, s := range settings {
		if err := os.WriteFile("/proc/sys/net/"+s[0], []byte(s[1]), 0); err != nil {
			return fmt.Errorf("set sysctl %s to %q: %w", s[0], s[1], err)
		}
	}
	return nil
}
