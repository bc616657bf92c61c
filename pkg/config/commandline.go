package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// CommandLine is what the command line says: settings, the file that has more of them, and what to do in place of running.
type CommandLine struct {
	// File is the configuration file; empty: there is none.
	File string
	// WriteTo is a file to write the settings to, and nothing else is to be done.
	WriteTo string
	// Cleanup: what Fairlead wrote into the kernel is to be removed, and nothing else to be done.
	Cleanup bool

	flags                    *pflag.FlagSet
	settings                 *Config // as the flags say, whatever is in the file
	healthzPort, metricsPort int
	content                  []byte // of the file, when it was last read
	said                     map[Notice]bool
}

// NewCommandLine adds all flags to a set. The CommandLine is what they say once they have been parsed.
func NewCommandLine(flags *pflag.FlagSet) *CommandLine {
	l := &CommandLine{flags: flags, settings: Default(), said: map[Notice]bool{}}
	flags.StringVar(&l.File, "config", "", "file with a KubeProxyConfiguration, as kube-proxy reads it, and if need be a FairleadConfiguration; most other flags have no effect beside it")
	flags.StringVar(&l.WriteTo, "write-config-to", "", "write the settings to this file, and exit")
	flags.BoolVar(&l.Cleanup, "cleanup", false, "remove every rule of Fairlead, and exit, as the subcommand cleanup does")
	l.settings.AddFlags(flags)
	flags.IntVar(&l.healthzPort, "healthz-port", healthzPort, "port of --healthz-bind-address, if that has none; 0: answer nowhere")
	flags.IntVar(&l.metricsPort, "metrics-port", metricsPort, "port of --metrics-bind-address, if that has none; 0: answer nowhere")
	for flag, instead := range map[string]string{"healthz-port": "healthz-bind-address", "metrics-port": "metrics-bind-address"} {
		// It fails only where there is no such flag.
		_ = flags.MarkDeprecated(flag, "give --"+instead+" a port instead")
	}
	addUnsupportedFlags(flags)
	return l
}

// Load returns the settings that hold, which are valid. What is set without an effect is logged, each once.
func (l *CommandLine) Load(logger klog.Logger) (*Config, error) {
	var c *Config
	var notices []Notice
	var err error
	if l.File == "" {
		c, notices, err = l.fromFlags()
	} else {
		c, notices, err = l.fromFile()
	}
	if err != nil {
		return nil, err
	}
	for _, n := range notices {
		if !l.said[n] {
			logger.Info("Set without effect", "setting", n.Setting, "effect", n.Effect)
			l.said[n] = true
		}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, c.Logging.apply(l.flags)
}

// fromFlags returns the settings where there is no file.
func (l *CommandLine) fromFlags() (*Config, []Notice, error) {
	c := *l.settings
	if c.DetectLocalMode == "" {
		c.DetectLocalMode = ByClusterCIDR
	}
	notices := l.unsupportedFlags()
	var err error
	for _, server := range []struct {
		address *string
		port    int
		flag    string
	}{{&c.HTTP.HealthzBindAddress, l.healthzPort, "healthz"}, {&c.HTTP.MetricsBindAddress, l.metricsPort, "metrics"}} {
		if server.port == 0 {
			*server.address = ""
			continue
		}
		if server.port < 0 || server.port > math.MaxUint16 {
			err = errors.Join(err, fmt.Errorf("--%s-port: %d is not between 0 and %d", server.flag, server.port, math.MaxUint16))
			continue
		}
		had := *server.address
		*server.address = withPort(had, uint16(server.port))
		if *server.address == had && l.flags.Changed(server.flag+"-port") {
			notices = append(notices, Notice{"--" + server.flag + "-port", fmt.Sprintf("has no effect: --%s-bind-address has a port, in %s", server.flag, had)})
		}
	}
	return &c, notices, err
}

// fromFile reads the file. The flags that hold beside it go before it, and the others are named.
func (l *CommandLine) fromFile() (*Config, []Notice, error) {
	l.content = nil
	data, err := os.ReadFile(l.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("--config: there is no file %s; give the path of one, or leave the flag out", l.File)
	case err != nil:
		return nil, nil, fmt.Errorf("--config: %w", err)
	}
	l.content = data
	c, notices, err := Parse(l.File, data)
	if err != nil {
		return nil, nil, err
	}
	c.origin.overridden = map[string]bool{}
	notices = append(notices, l.unsupportedFlags()...)
	settings := c.flags()
	// Not Visit: a flag that two sets share counts as visited only in the one that was parsed.
	l.flags.VisitAll(func(flag *pflag.Flag) {
		switch s, ok := settingOf(flag.Name); {
		case !flag.Changed:
		case !ok && (flag.Name == "healthz-port" || flag.Name == "metrics-port"):
			notices = append(notices, Notice{"--" + flag.Name, "has no effect, because of --config"})
		case !ok || flag.Name == "hostname-override" && flag.Value.String() == "":
		case s.beside:
			if e := settings.Set(flag.Name, flag.Value.String()); e != nil {
				err = errors.Join(err, fmt.Errorf("--%s: %w", flag.Name, e))
			}
			c.origin.overridden[flag.Name] = true
		default:
			notices = append(notices, Notice{"--" + flag.Name, fmt.Sprintf("has no effect, because of --config; set %s in %s instead", s.field, l.File)})
		}
	})
	return c, notices, err
}

// unsupportedFlags names the flags that were given and that Fairlead does nothing for.
func (l *CommandLine) unsupportedFlags() []Notice {
	var all []Notice
	for _, u := range allUnsupported {
		if flag := l.flags.Lookup(u.flag); u.flag != "" && flag != nil && flag.Changed && !slices.Contains([]string{"text", "0.0.0.0", "::"}, flag.Value.String()) {
			all = append(all, Notice{"--" + u.flag, "has no effect: " + u.effect})
		}
	}
	return all
}
