package config

import "github.com/spf13/pflag"

// HTTP is what can be set for the servers that tell of Fairlead's state.
type HTTP struct {
	// HealthzBindAddress is where /healthz, /livez and /readyz are served; empty: nowhere.
	HealthzBindAddress string
	// MetricsBindAddress is where /metrics, /proxyMode, /configz and profiles are served; empty: nowhere.
	MetricsBindAddress string
	// Profiling adds /debug/pprof to the latter.
	Profiling bool
	// BindAddressHardFail ends Fairlead where one of the addresses cannot be had.
	BindAddressHardFail bool
}

func defaultHTTP() HTTP {
	return HTTP{HealthzBindAddress: "0.0.0.0:10256", MetricsBindAddress: "127.0.0.1:10249"}
}

func (c *HTTP) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.HealthzBindAddress, "healthz-bind-address", c.HealthzBindAddress, "address and port to answer health checks on, with the wildcard of either family on both; empty: nowhere")
	fs.StringVar(&c.MetricsBindAddress, "metrics-bind-address", c.MetricsBindAddress, "address and port to serve metrics on, with the wildcard of either family on both; empty: nowhere")
	fs.BoolVar(&c.Profiling, "profiling", c.Profiling, "serve profiles below /debug/pprof of --metrics-bind-address")
	fs.BoolVar(&c.BindAddressHardFail, "bind-address-hard-fail", c.BindAddressHardFail, "end where one of these addresses cannot be had, instead of trying again")
}
