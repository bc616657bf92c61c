package config

import (
	"reflect"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// Notice is about a setting that is ignored or replaced.
type Notice struct {
	// Setting is the flag or the field, by the name that the user knows it by.
	Setting string
	// Reason is why, and what applies instead.
	Reason string
}

// unsupported is a setting of kube-proxy's that Fairlead accepts and ignores.
type unsupported struct {
	flag   string // empty: there is none
	field  string // empty: there is none
	reason string
	// set reports whether a file sets the field to something else than what Fairlead does anyway.
	set func(*v1alpha1.KubeProxyConfiguration) bool
}

const oneStream = "the log is written to standard error, unbuffered"

var allUnsupported = []unsupported{
	{"feature-gates", "featureGates", "Fairlead has no feature gates",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return len(k.FeatureGates) > 0 }},
	{"bind-address", "bindAddress", "the node's primary addresses are those of its Node object; in a file, bindAddress still selects the IP family of the default healthzBindAddress and metricsBindAddress",
		func(k *v1alpha1.KubeProxyConfiguration) bool {
			return k.BindAddress != "" && !unspecified(k.BindAddress)
		}},
	{"show-hidden-metrics-for-version", "showHiddenMetricsForVersion", "Fairlead hides no metrics",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.ShowHiddenMetricsForVersion != "" }},
	{"logging-format", "logging.format", "the log format is text",
		func(k *v1alpha1.KubeProxyConfiguration) bool {
			return k.Logging.Format != "" && k.Logging.Format != "text"
		}},
	{"log-flush-frequency", "logging.flushFrequency", "the log is unbuffered",
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
	{"", "winkernel", "it only applies to Windows",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return !reflect.ValueOf(k.Winkernel).IsZero() }},
	{"", "windowsRunAsService", "it only applies to Windows",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.WindowsRunAsService }},
	{"", "portRange", "kube-proxy does not use it either",
		func(k *v1alpha1.KubeProxyConfiguration) bool { return k.PortRange != "" }},
	{"boot-id-file", "", "Fairlead does not need it", nil},
	{"machine-id-file", "", "Fairlead does not need it", nil},
}

func unspecified(address string) bool { return address == "0.0.0.0" || address == "::" }

// withoutEffect returns a notice for each field that a document sets and that Fairlead ignores.
func withoutEffect(k *v1alpha1.KubeProxyConfiguration) []Notice {
	var all []Notice
	for _, u := range allUnsupported {
		if u.set != nil && u.set(k) {
			all = append(all, Notice{u.field, u.reason})
		}
	}
	return all
}

// addUnsupportedFlags adds the flags that Fairlead accepts and ignores. Boolean flags need no value, as in kube-proxy.
func addUnsupportedFlags(fs *pflag.FlagSet) {
	for _, u := range allUnsupported {
		usage := "ignored: " + u.reason
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
