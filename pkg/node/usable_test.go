package node

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the kernel can be made to show is tested with it; these are states that pass too quickly, or that it hardly gets into.
func TestUsableAddresses(t *testing.T) {
	tests := map[string]struct {
		ip    net.IP
		scope int
		flags int
		want  bool
	}{
		"a plain one is":                      {ip: net.ParseIP("10.0.0.1"), want: true},
		"a private IPv6 one is":               {ip: net.ParseIP("fd00::1"), want: true},
		"a tentative one is not yet":          {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_TENTATIVE},
		"an optimistic one is":                {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC, want: true},
		"one that somebody else has is not":   {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_DADFAILED | unix.IFA_F_TENTATIVE},
		"nor once it is not tentative":        {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_DADFAILED},
		"nor if it was used before":           {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_DADFAILED | unix.IFA_F_OPTIMISTIC},
		"a deprecated one is":                 {ip: net.ParseIP("fd00::1"), flags: unix.IFA_F_DEPRECATED, want: true},
		"one of scope host is not":            {ip: net.ParseIP("10.0.0.1"), scope: unix.RT_SCOPE_HOST},
		"one of scope link is":                {ip: net.ParseIP("10.0.0.1"), scope: unix.RT_SCOPE_LINK, want: true},
		"IPv4 loopback of any scope is not":   {ip: net.ParseIP("127.0.0.2")},
		"IPv6 loopback is not":                {ip: net.IPv6loopback},
		"link-local is not":                   {ip: net.ParseIP("fe80::1")},
		"multicast is not":                    {ip: net.ParseIP("ff0e::1")},
		"one of a third family is not":        {ip: net.IP{1}},
		"one that the kernel left out is not": {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			listed := netlink.Addr{Scope: test.scope, Flags: test.flags}
			if test.ip != nil {
				listed.IPNet = &net.IPNet{IP: test.ip}
			}
			if addr, got := usable(listed); got != test.want {
				t.Errorf("%s: got %v", addr, got)
			}
		})
	}
}
