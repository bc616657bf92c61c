package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// The ports of kube-proxy's servers.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// withPort appends a port to an IP address without one. It returns everything else unchanged.
func withPort(address string, port uint16) string {
	if addr, err := netip.ParseAddr(address); err == nil {
		return netip.AddrPortFrom(addr, port).String()
	}
	return address
}

func (c *HTTP) validate(f *findings) {
	bindAddress(f, "healthz-bind-address", c.HealthzBindAddress)
	bindAddress(f, "metrics-bind-address", c.MetricsBindAddress)
}

func bindAddress(f *findings, flag, address string) {
	if address == "" {
		return
	}
	if parsed, err := netip.ParseAddrPort(address); err != nil || parsed.Port() == 0 {
		f.add(flag, "%q is not an IP address and port such as 127.0.0.1:%d or [::]:%d", address, metricsPort, metricsPort)
	}
}

// parseRange parses a range of addresses. example is a valid one.
func parseRange(text, example string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not a range of addresses such as %s", text, example)
	}
	return prefix.Masked(), nil
}

func parseRanges(texts []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range texts {
		prefix, err := parseRange(text, "192.0.2.0/24")
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, prefix)
	}
	return ranges, nil
}
