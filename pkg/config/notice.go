package config

import (
	"reflect"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// Notice says of something that was set that it has no effect, or not all of its effect.
type Notice struct {
	// Setting is what was set, as whoever set it calls it.
	Setting string
	// Effect is what follows.
	Effect string
}

// unsupported is something of kube-proxy's that Fairlead takes and does not do.
type unsupported struct {
	flag   string // empty: it has none
	field  string
	effect string
	// set reports whether a file has it, for more than what holds anyway; nil: no file has it.
	set func(*v1alpha1.KubeProxyConfiguration) bool
}

const oneStream = "all of the log goes to standard error, without a buffer"

var allUnsupported = []unsupported{
	{"feature-gates", "featureGates", "Fairlead has no feature gates",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return len(k.FeatureGates) > 0 }},
	{"bind-address", "bindAddress", "the node's primary addresses are those that its Node names; in a file, the family of this address is that of the default healthzBindAddress and metricsBindAddress",
		func(k *v1alpha1.KubeProxyConfiguration) bool {
			return k.BindAddress != "" && !unspecified(k.BindAddress)
		}},
	{"show-hidden-metrics-for-version", "showHiddenMetricsForVersion", "Fairlead hides no metrics",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.ShowHiddenMetricsForVersion != "" }},
	{"logging-format", "logging.format", "the log is text",
		func(k *v1alpha1.KubeProxyConfiguration) bool {
			return k.Logging.Format != "" && k.Logging.Format != "text"
		}},
	{"log-flush-frequency", "logging.flushFrequency", "the log has no buffer that would have to be flushed",
		func(k *v1alpha1.KubeProxyConfiguration) bool {
			d := k.Logging.FlushFrequency.Duration.Duration
			return d != 0 && d != 5*time.Second
		}},
	{"log-text-split-stream", "logging.options.text.splitStream", oneStream,
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.Logging.Options.Text.SplitStream }},
	{"log-text-info-buffer-size", "logging.options.text.infoBufferSize", oneStream,
		func(k *v1alpha1.KubeProxyConfiguration) bool { return !k.Logging.Options.Text.InfoBufferSize.IsZero() }},
	{"log-json-split-stream", "logging.options.json.splitStream", oneStream,
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.Logging.Options.JSON.SplitStream }},
	{"log-json-info-buffer-size", "logging.options.json.infoBufferSize", oneStream,
		func(k *v1alpha1.KubeProxyConfiguration) bool { return !k.Logging.Options.JSON.InfoBufferSize.IsZero() }},
	{"", "winkernel", "it is for Windows",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return !reflect.ValueOf(k.Winkernel).IsZero() }},
	{"", "windowsRunAsService", "it is for Windows",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.WindowsRunAsService }},
	{"", "portRange", "kube-proxy does not use it either",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.PortRange != "" }},
	{"boot-id-file", "", "Fairlead does not need it", nil},
	{"machine-id-file", "", "Fairlead does not need it", nil},
}

func unspecified(address string) bool { return address == "0.0.0.0" || address == "::" }

// withoutEffect names what a document has that Fairlead does not do.
func withoutEffect(k *v1alpha1.KubeProxyConfiguration) []Notice {
	var all []Notice
	for _, u := range allUnsupported {
		if u.set != nil && u.set(k) {
			all = append(all, Notice{u.field, "has no effect: " + u.effect})
		}
	}
	return all
}

// addUnsupportedFlags adds the flags that Fairlead takes and does nothing for. Those that need no value need none here either.
func addUnsupportedFlags(fs *pflag.FlagSet) {
	for _, u := range allUnsupported {
		usage := "no effect: " + u.effect
		switch u.flag {
		case "":
		case "log-text-split-stream", "log-json-split-stream":
			fs.Bool(u.flag, false, usage)
		case "feature-gates":
			fs.StringToString(u.flag, nil, usage)
		case "log-flush-frequency":
			fs.Duration(u.flag, 5*time.Second, usage)
		default:
			fs.String(u.flag, "", usage)
		}
	}
}
