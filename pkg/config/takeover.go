package config

import "github.com/spf13/pflag"

func (c *Config) addTakeOverFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.TakeOver, "take-over", c.TakeOver, "remove what a stopped kube-proxy has left on the node, once Fairlead serves in its place")
	fs.BoolVar(&c.InitOnly, "init-only", c.InitOnly, "do what needs more privileges than forwarding traffic does, such as setting the kernel's parameters, and end")
}
