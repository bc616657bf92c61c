package config

import "github.com/spf13/pflag"

func (c *Config) addTakeOverFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.TakeOver, "take-over", c.TakeOver, "once Fairlead serves, remove what a stopped kube-proxy has left on the node")
	fs.BoolVar(&c.InitOnly, "init-only", c.InitOnly, "do everything that needs more than CAP_NET_ADMIN and CAP_NET_RAW, such as setting sysctls, and exit")
}
