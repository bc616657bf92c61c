package config

import "github.com/spf13/pflag"

// HTTP holds the settings of the HTTP servers.
type HTTP struct {
	// HealthzBindAddress is the address and port of /healthz, /livez and /readyz. Empty: not served.
	HealthzBindAddress string
	// MetricsBindAddress is the address and port of /metrics, /proxyMode, /configz, /flagz and profiles. Empty: not served.
	MetricsBindAddress string
	// Profiling serves /debug/pprof at MetricsBindAddress.
	Profiling bool
	// BindAddressHardFail makes Run fail if it cannot listen on one of these addresses. Otherwise it retries.
	BindAddressHardFail bool
}

func defaultHTTP() HTTP {
	return HTTP{HealthzBindAddress: defaultAddress("0.0.0.0", HealthzPort), MetricsBindAddress: defaultAddress("127.0.0.1", MetricsPort)}
}

func (c *HTTP) addFlags(fs *pflag.FlagSet) {
	const families = "; 0.0.0.0 and [::] both listen on all addresses of both IP families; empty: the default"
	bindAddressFlag(fs, &c.HealthzBindAddress, "healthz-bind-address", "IP address and port of the health checks"+families)
	bindAddressFlag(fs, &c.MetricsBindAddress, "metrics-bind-address", "IP address and port of the metrics"+families)
	fs.BoolVar(&c.Profiling, "profiling", c.Profiling, "serve profiles at /debug/pprof of --metrics-bind-address")
	fs.BoolVar(&c.BindAddressHardFail, "bind-address-hard-fail", c.BindAddressHardFail, "exit if one of these addresses is not available, instead of retrying")
}
