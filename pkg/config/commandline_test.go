package config

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2/ktesting"
)

// klogFlags stand in for klog's own, which are the whole program's.
func klogFlags() *flag.FlagSet {
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	fs.Int("v", 0, "")
	fs.String("vmodule", "", "")
	return fs
}

// newLine reads a command line.
func newLine(t *testing.T, args ...string) *CommandLine {
	t.Helper()
	fs := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
	fs.AddGoFlagSet(klogFlags())
	line := NewCommandLine(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return line
}

// load returns the settings of a command line, and what is logged about them.
func load(t *testing.T, line *CommandLine) (*Config, string, error) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	c, err := line.Load(logger)
	return c, logger.GetSink().(ktesting.Underlier).GetBuffer().String(), err
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.conf")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlySomeFlagsOverrideAFile(t *testing.T) {
	content := head + "mode: ipvs\nhostnameOverride: from-file\n" + ownHead + "ipvs: {markBit: 3, drainTimeout: 5m}\n"
	tests := []struct {
		name   string
		args   []string
		want   []string // the settings that are not as the file has them
		notice []string // the flags that are logged as ignored
	}{
		{"none given", nil, nil, nil},
		{"kube-proxy's flags that override a file", []string{"--hostname-override=Node", "--master=https://192.0.2.1"}, []string{"master", "hostname-override"}, nil},
		{"an empty name does not override", []string{"--hostname-override="}, nil, nil},
		{"kube-proxy's flags that do not override a file", []string{"--proxy-mode=iptables", "--kubeconfig=x", "--cluster-cidr=10.0.0.0/8", "--ipvs-exclude-cidrs=192.0.2.0/24", "--healthz-port=0"},
			nil, []string{"--proxy-mode", "--kubeconfig", "--cluster-cidr", "--ipvs-exclude-cidrs", "--healthz-port"}},
		{"Fairlead's own flags", []string{"--ipvs-mark-bit=5", "--take-over=false", "--iptables-variant=nft"}, []string{"take-over", "iptables-variant", "ipvs-mark-bit"}, nil},
		{"flags that Fairlead ignores", []string{"--feature-gates=A=true,B=false", "--logging-format=json", "--log-flush-frequency=1s"}, nil,
			[]string{"--feature-gates", "--logging-format", "--log-flush-frequency"}},
		{"verbosity", []string{"-v=3"}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := writeFile(t, content)
			fromFile, _, err := Parse(path, []byte(content))
			if err != nil {
				t.Fatal(err)
			}
			c, log, err := load(t, newLine(t, append(test.args, "--config="+path)...))
			if err != nil {
				t.Fatal(err)
			}
			if got := changed(fromFile, c); !slices.Equal(got, test.want) {
				t.Errorf("these differ from the file: %v, want %v", got, test.want)
			}
			if n := strings.Count(log, "Setting ignored or replaced"); n != len(test.notice) {
				t.Errorf("%d notices, want %d", n, len(test.notice))
			}
			for _, flag := range test.notice {
				if !strings.Contains(log, `setting="`+flag+`"`) {
					t.Errorf("%s is not logged in\n%s", flag, log)
				}
			}
		})
	}
}

func TestFlagsApplyWithoutAFile(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		want   func(*Config)
		notice string
	}{
		{"none given", nil, func(*Config) {}, ""},
		{"empty ones mean the default", []string{"--proxy-mode=", "--detect-local-mode="}, func(*Config) {}, ""},
		{"ports alone change nothing, as in kube-proxy", []string{"--healthz-port=1", "--metrics-port=2"}, func(*Config) {}, "--healthz-port"},
		{"ports go with addresses that have none", []string{"--healthz-bind-address=192.0.2.1", "--healthz-port=1", "--metrics-bind-address=::"}, func(c *Config) {
			c.HTTP.HealthzBindAddress, c.HTTP.MetricsBindAddress = "192.0.2.1:1", "[::]:10249"
		}, ""},
		{"the last port there is", []string{"--healthz-bind-address=::1", "--healthz-port=65535"}, func(c *Config) { c.HTTP.HealthzBindAddress = "[::1]:65535" }, ""},
		{"port 0 turns a server off", []string{"--healthz-port=0", "--metrics-port=0"}, func(c *Config) { c.HTTP = HTTP{} }, ""},
		{"a flag that Fairlead ignores", []string{"--show-hidden-metrics-for-version=1.35"}, func(*Config) {}, "--show-hidden-metrics-for-version"},
		{"what Fairlead does anyway", []string{"--logging-format=text", "--bind-address=0.0.0.0"}, func(*Config) {}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, log, err := load(t, newLine(t, test.args...))
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			test.want(want)
			if got := changed(want, c); got != nil {
				t.Errorf("these are not as expected: %v", got)
			}
			if logged := strings.Contains(log, "Setting ignored or replaced"); logged != (test.notice != "") || !strings.Contains(log, test.notice) {
				t.Errorf("logged %q, want %q", log, test.notice)
			}
		})
	}
}

func TestErrorsNameTheFlagOrTheField(t *testing.T) {
	path := writeFile(t, head+"mode: ipvs\nipvs: {scheduler: fastest}\n"+ownHead+"ipvs: {markBit: 40}\n")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"flags", []string{"--proxy-mode=ipvs", "--ipvs-scheduler=fastest"}, []string{`--ipvs-scheduler: "fastest"`}},
		{"invalid ports", []string{"--healthz-port=75792", "--metrics-port=-1"}, []string{"--healthz-port: 75792 is not between 0 and 65535", "--metrics-port: -1 is not"}},
		{"a file", []string{"--config=" + path}, []string{path + `: ipvs.scheduler: "fastest"`, path + ": ipvs.markBit (in FairleadConfiguration): 40"}},
		{"a flag that overrides a file", []string{"--config=" + path, "--ipvs-mark-bit=41"}, []string{"--ipvs-mark-bit: 41"}},
		{"no such file", []string{"--config=/nowhere/config.conf"}, []string{"--config", "/nowhere/config.conf", "correct the path"}},
		{"a folder", []string{"--config=" + filepath.Dir(path)}, []string{"--config", "is a directory"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := load(t, newLine(t, test.args...))
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestTwoModesByFlagAreRefused(t *testing.T) {
	for _, test := range []struct {
		args  []string
		valid bool
	}{
		{[]string{"--proxy-mode=ipvs", "--proxy-mode=ipvs"}, true},
		{[]string{"--proxy-mode=ipvs", "--proxy-mode=iptables"}, false},
		{[]string{"--proxy-mode=iptables", "--proxy-mode="}, true},
	} {
		fs := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
		NewCommandLine(fs)
		if err := fs.Parse(test.args); (err == nil) != test.valid {
			t.Errorf("%v: %v", test.args, err)
		}
	}
}

func TestVerbosityFlagsOverrideTheFile(t *testing.T) {
	path := writeFile(t, head+"logging: {verbosity: 4, vmodule: [{filePattern: watch, verbosity: 9}]}\n")
	for _, test := range []struct {
		args       []string
		v, vmodule string
	}{
		{nil, "4", "watch=9"},
		{[]string{"-v=2"}, "2", "watch=9"},
		{[]string{"--v=0", "--vmodule=x=1"}, "0", "x=1,watch=9"},
	} {
		line := newLine(t, append(test.args, "--config="+path)...)
		for range 2 { // the second time changes nothing
			if _, _, err := load(t, line); err != nil {
				t.Fatal(err)
			}
		}
		if v, vmodule := line.flags.Lookup("v").Value.String(), line.flags.Lookup("vmodule").Value.String(); v != test.v || vmodule != test.vmodule {
			t.Errorf("%v: -v %s, --vmodule %s", test.args, v, vmodule)
		}
	}
}

func TestANoticeIsLoggedOnce(t *testing.T) {
	path := writeFile(t, head+"portRange: 1-2\n")
	line := newLine(t, "--config="+path)
	_, first, err := load(t, line)
	if err != nil || !strings.Contains(first, "portRange") {
		t.Errorf("at first: %q, %v", first, err)
	}
	if _, again, err := load(t, line); err != nil || again != "" {
		t.Errorf("again: %q, %v", again, err)
	}
}

func TestEveryFlagIsASettingOrIgnored(t *testing.T) {
	known := []string{"config", "write-config-to", "cleanup", "healthz-port", "metrics-port", "v", "vmodule"}
	for _, u := range allUnsupported {
		known = append(known, u.flag)
	}
	n := 0
	newLine(t).flags.VisitAll(func(f *pflag.Flag) {
		n++
		if _, ok := settingOf(f.Name); !ok && !slices.Contains(known, f.Name) {
			t.Errorf("--%s is not in the table of settings", f.Name)
		}
	})
	if want := len(settings) + 7 + len(allUnsupported) - 3; n != want {
		t.Errorf("%d flags, want %d", n, want)
	}
}

func TestChangesThatNeedARestartAreNamed(t *testing.T) {
	tests := []struct {
		name    string
		was, is string
		want    []string
	}{
		{"nothing", "", "", nil},
		{"mode and periods", "", "mode: ipvs\niptables: {syncPeriod: 1m, minSyncPeriod: 2s}\nipvs: {syncPeriod: 1m, minSyncPeriod: 1s}\n", nil},
		{"a value that is the default, spelled out", "", "mode: iptables\noomScoreAdj: -999\n", nil},
		{"what both modes share", "", "iptables: {masqueradeBit: 3}\nnodePortAddresses: [primary]\n", []string{"file: nodePortAddresses", "file: iptables.masqueradeBit"}},
		{"what only ipvs mode needs, out of it", "", "ipvs: {scheduler: mh}\n", nil},
		{"what only ipvs mode needs, on the way to it", "", "mode: ipvs\nipvs: {scheduler: mh}\n", nil},
		{"what only ipvs mode needs, on the way out of it", "mode: ipvs\n", "ipvs: {scheduler: mh}\n", nil},
		{"what only ipvs mode needs, in it", "mode: ipvs\n", "mode: ipvs\nipvs: {scheduler: mh}\n", []string{"file: ipvs.scheduler"}},
		{"of our own document", "", ownHead + "dropInvalid: 'on'\n", []string{"file: dropInvalid (in FairleadConfiguration)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			was, _ := mustParse(t, head+test.was)
			is, _ := mustParse(t, head+test.is)
			if got := NeedRestart(was, is); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestComparingSettingsDoesNotWriteToThem(*testing.T) {
	was, is := Default(), Default()
	read := make(chan struct{})
	go func() { // the race detector tells of a write
		defer close(read)
		for range 100 {
			_ = was.Mode == is.Mode && was.IPTables == is.IPTables && len(was.NodePortAddresses) == 0
		}
	}()
	for range 10 {
		NeedRestart(was, is)
	}
	<-read
}
