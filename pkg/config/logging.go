package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
)

// Logging holds the log verbosity of the file. The flags -v and --vmodule are klog's, and override the file.
type Logging struct {
	Verbosity uint32
	// VModule is the verbosity of single source files, in the format of klog's flag.
	VModule string
}

func (l *Logging) setKubeProxy(k *logsapi.LoggingConfiguration) {
	l.Verbosity = uint32(k.Verbosity)
	var items []string
	for _, item := range k.VModule {
		items = append(items, fmt.Sprintf("%s=%d", item.FilePattern, item.Verbosity))
	}
	l.VModule = strings.Join(items, ",")
}

func (l *Logging) kubeProxy() logsapi.LoggingConfiguration {
	k := logsapi.LoggingConfiguration{Format: "text", Verbosity: logsapi.VerbosityLevel(l.Verbosity)}
	k.FlushFrequency.SerializeAsString = true
	k.FlushFrequency.Duration.Duration = logsapi.LogFlushFreqDefault
	for item := range strings.SplitSeq(l.VModule, ",") {
		pattern, level, ok := strings.Cut(item, "=")
		if n, err := strconv.ParseUint(level, 10, 32); ok && err == nil {
			k.VModule = append(k.VModule, logsapi.VModuleItem{FilePattern: pattern, Verbosity: logsapi.VerbosityLevel(n)})
		}
	}
	return k
}

// apply sets klog's flags to the values of the file, unless the command line sets them. As in kube-proxy, the patterns of --vmodule come
// before those of the file, and override them: vmodule is that flag's value on the command line.
func (l *Logging) apply(fs *pflag.FlagSet, vmodule string) error {
	patterns := strings.Trim(vmodule+","+l.VModule, ",")
	for name, value := range map[string]string{"v": strconv.FormatUint(uint64(l.Verbosity), 10), "vmodule": patterns} {
		flag := fs.Lookup(name)
		if flag == nil || name == "v" && flag.Changed || flag.Value.String() == value {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return fmt.Errorf("logging: set %s to %q: %w", name, value, err)
		}
	}
	return nil
}
