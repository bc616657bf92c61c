package config

import "net/netip"

// The ports of kube-proxy's servers.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// withPort adds a port to an address that has none. What is no address stays as it is.
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
		f.add(flag, "%q is not an address and a port such as 127.0.0.1:%d or [::]:%d", address, metricsPort, metricsPort)
	}
}
