package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/config"
)

// written runs a command line of kube-proxy's with --write-config-to, and returns what it writes.
func written(t *testing.T, args ...string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "written.yaml")
	command := newCommand()
	command.SetArgs(append(args, "--write-config-to="+path))
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, notices, err := config.Parse(path, data)
	if err != nil || len(notices) > 0 {
		t.Fatalf("%v, %v", notices, err)
	}
	return c
}

func TestCommandLinesOfKubeProxyWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.conf")
	content := "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		mode config.Mode
	}{
		{"kubeadm's", []string{"--config=" + file, "--hostname-override=node1"}, config.ModeIPVS},
		{"with the subcommand", []string{"run", "--config=" + file, "--hostname-override=node1"}, config.ModeIPVS},
		{"flags only", []string{"--proxy-mode=ipvs", "--hostname-override=node1", "-v=0"}, config.ModeIPVS},
		{"flags with underscores", []string{"--proxy_mode=ipvs", "--hostname_override=node1"}, config.ModeIPVS},
		{"the default mode", []string{"--hostname-override=node1"}, config.ModeIPTables},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if c := written(t, test.args...); c.Mode != test.mode || c.HostnameOverride != "node1" {
				t.Errorf("mode %s, node %q", c.Mode, c.HostnameOverride)
			}
		})
	}
}

// The flags of klog are of the whole process.
func TestTheFileSetsWhatIsLogged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.conf")
	content := "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nlogging: {verbosity: 3, vmodule: [{filePattern: nothing, verbosity: 1}]}\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		v    string
	}{
		{"without a subcommand", []string{"--config=" + file}, "3"},
		{"with the subcommand", []string{"run", "--config=" + file}, "3"},
		{"the flag comes first", []string{"--config=" + file, "-v=2"}, "2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			command := newCommand()
			v, vmodule := command.PersistentFlags().Lookup("v").Value, command.PersistentFlags().Lookup("vmodule").Value
			t.Cleanup(func() { _, _ = v.Set("0"), vmodule.Set("") })
			command.SetArgs(append(test.args, "--hostname-override=node1", "--write-config-to="+filepath.Join(t.TempDir(), "written.yaml")))
			if err := command.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v.String() != test.v {
				t.Errorf("-v is %s, want %s", v, test.v)
			}
			if vmodule.String() != "nothing=1" {
				t.Errorf("--vmodule is %s", vmodule)
			}
		})
	}
}

func TestInvalidCommandLinesAreRefused(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an unknown flag", []string{"--no-such-flag"}, "--no-such-flag"},
		{"an unknown subcommand", []string{"start"}, "start"},
		{"an argument", []string{"run", "now"}, "now"},
		{"two modes", []string{"--proxy-mode=ipvs", "--proxy-mode=iptables"}, "remove one of them"},
		{"a file that does not exist", []string{"--config=/nowhere/config.conf"}, "/nowhere/config.conf"},
		{"a bad range", []string{"--cluster-cidr=10.244.0.0"}, "is not a range of addresses such as 10.244.0.0/16"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			command := newCommand()
			command.SetArgs(append(test.args, "--write-config-to="+filepath.Join(t.TempDir(), "written.yaml")))
			if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
