package xtables

import (
	"bytes"
	"net/netip"
)

// plainAddresses writes IPv6 addresses below ::/96 in a rule as we render them: ::102:304. The C library that iptables-save is linked with
// may print those as ::1.2.3.4 (glibc does, musl does not).
func plainAddresses(rule []byte) []byte {
	for from := 0; ; {
		at := bytes.Index(rule[from:], []byte("::"))
		if at < 0 {
			return rule
		}
		from += at
		end := from + len("::")
		for end < len(rule) && (rule[end] == '.' || rule[end] >= '0' && rule[end] <= '9') {
			end++
		}
		if dotted := rule[from:end]; bytes.IndexByte(dotted, '.') > 0 && (from == 0 || !isHex(rule[from-1])) {
			if addr, err := netip.ParseAddr(string(dotted)); err == nil {
				rest := bytes.Clone(rule[end:])
				rule = append(addr.AppendTo(bytes.Clone(rule[:from])), rest...)
			}
		}
		from += len("::")
	}
}

// isHex reports whether a character can be part of an address before "::".
func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
