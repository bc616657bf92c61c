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

// CommandLine holds the flags: settings, the configuration file, and what to do instead of running.
type CommandLine struct {
	// File is the configuration file. Empty: there is none.
	File string
	// WriteTo is a file to write the settings to, instead of running.
	WriteTo string
	// Cleanup removes Fairlead's rules, instead of running.
	Cleanup bool

	flags                    *pflag.FlagSet
	settings                 *Config // of the flags, regardless of the file
	healthzPort, metricsPort int
	content                  []byte // of the file when it was last read
	logged                   map[Notice]bool
	vmodule                  *string // --vmodule of the command line, which Load extends by the patterns of the file
}

// NewCommandLine adds all flags to a flag set. The CommandLine has their values once the set has been parsed.
func NewCommandLine(flags *pflag.FlagSet) *CommandLine {
	l := &CommandLine{flags: flags, settings: Default(), logged: map[Notice]bool{}}
	flags.StringVar(&l.File, "config", "", "configuration file with a KubeProxyConfiguration, as for kube-proxy, and optionally a FairleadConfiguration; most other flags are ignored with it")
	flags.StringVar(&l.WriteTo, "write-config-to", "", "write the settings to this file and exit")
	flags.BoolVar(&l.Cleanup, "cleanup", false, "remove all rules of Fairlead and exit, as the subcommand cleanup")
	l.settings.AddFlags(flags)
	flags.IntVar(&l.healthzPort, "healthz-port", HealthzPort, "port of --healthz-bind-address, if that has none; 0: do not serve health checks")
	flags.IntVar(&l.metricsPort, "metrics-port", MetricsPort, "port of --metrics-bind-address, if that has none; 0: do not serve metrics")
	for flag, instead := range map[string]string{"healthz-port": "healthz-bind-address", "metrics-port": "metrics-bind-address"} {
		// It only fails if there is no such flag.
		_ = flags.MarkDeprecated(flag, "use the port of --"+instead+" instead")
	}
	addUnsupportedFlags(flags)
	return l
}

// Load returns the settings, which are valid. It logs each ignored setting once, however often it is called.
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
		if !l.logged[n] {
			logger.Info("Setting ignored or replaced", "setting", n.Setting, "reason", n.Reason)
			l.logged[n] = true
		}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if l.vmodule == nil {
		l.vmodule = new(string)
		if flag := l.flags.Lookup("vmodule"); flag != nil {
			*l.vmodule = flag.Value.String()
		}
	}
	return c, c.Logging.apply(l.flags, *l.vmodule)
}

// fromFlags returns the settings if there is no file.
func (l *CommandLine) fromFlags() (*Config, []Notice, error) {
	c := *l.settings
	if c.DetectLocalMode == "" {
		c.DetectLocalMode = ByClusterCIDR
	}
	notices := l.unsupportedFlags()
	if c.Mode == modeNFTables {
		n := c.replaceNFTables(nil)
		notices = append(notices, Notice{"--proxy-mode", n.Reason})
	}
	healthz, healthzErr := l.applyPort(&c.HTTP.HealthzBindAddress, "healthz", l.healthzPort)
	metrics, metricsErr := l.applyPort(&c.HTTP.MetricsBindAddress, "metrics", l.metricsPort)
	return &c, slices.Concat(notices, healthz, metrics), errors.Join(healthzErr, metricsErr)
}

// applyPort applies one of kube-proxy's two deprecated port flags to the address of its server.
func (l *CommandLine) applyPort(address *string, server string, port int) ([]Notice, error) {
	name := server + "-port"
	switch {
	case port == 0:
		*address = ""
		return nil, nil
	case port < 0 || port > math.MaxUint16:
		return nil, fmt.Errorf("--%s: %d is not between 0 and %d", name, port, math.MaxUint16)
	}
	configured := *address
	*address = withPort(configured, uint16(port))
	if *address == configured && l.flags.Changed(name) {
		return []Notice{{"--" + name, fmt.Sprintf("--%s-bind-address already has a port: %s", server, configured)}}, nil
	}
	return nil, nil
}

// fromFile reads the file. Some flags override it; the notices name all others that are set.
func (l *CommandLine) fromFile() (*Config, []Notice, error) {
	l.content = nil
	data, err := os.ReadFile(l.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("--config: there is no file %s; correct the path or remove the flag", l.File)
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
	// Not Visit: a flag that is shared by two flag sets only counts as visited in the one that was parsed.
	l.flags.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed {
			return
		}
		n, e := l.override(c, settings, flag)
		notices, err = append(notices, n...), errors.Join(err, e)
	})
	return c, notices, err
}

// override applies a flag to the settings of a file if it has precedence over the file, and returns a notice if it has not. settings are
// those of c as flags.
func (l *CommandLine) override(c *Config, settings *pflag.FlagSet, flag *pflag.Flag) ([]Notice, error) {
	s, ok := settingOf(flag.Name)
	switch {
	case !ok && (flag.Name == "healthz-port" || flag.Name == "metrics-port"):
		return []Notice{{"--" + flag.Name, "it is ignored with --config"}}, nil
	case !ok, flag.Name == "hostname-override" && flag.Value.String() == "":
		return nil, nil
	case !s.beside:
		return []Notice{{"--" + flag.Name, fmt.Sprintf("it is ignored with --config; set %s in %s instead", s.field, l.File)}}, nil
	}
	c.origin.overridden[flag.Name] = true
	if err := settings.Set(flag.Name, flag.Value.String()); err != nil {
		return nil, fmt.Errorf("--%s: %w", flag.Name, err)
	}
	return nil, nil
}

// unsupportedFlags returns a notice for each flag that is set and that Fairlead ignores.
func (l *CommandLine) unsupportedFlags() []Notice {
	var all []Notice
	for _, u := range allUnsupported {
		if u.flag == "" {
			continue
		}
		// With these values, the flags request what Fairlead does anyway.
		if flag := l.flags.Lookup(u.flag); flag != nil && flag.Changed && !slices.Contains([]string{"text", "0.0.0.0", "::"}, flag.Value.String()) {
			all = append(all, Notice{"--" + u.flag, u.reason})
		}
	}
	return all
}
