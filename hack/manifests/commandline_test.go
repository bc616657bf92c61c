package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/config"
)

// Fairlead accepts the arguments and the configuration file of both containers without a warning.
func TestFairleadAcceptsItsConfiguration(t *testing.T) {
	for _, overlay := range []string{"iptables", "ipvs", "kind"} {
		t.Run(overlay, func(t *testing.T) {
			objects := kustomize(t, overlay)
			pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
			file := filepath.Join(t.TempDir(), "config.conf")
			if err := os.WriteFile(file, []byte(the[*corev1.ConfigMap](t, objects).Data["config.conf"]), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, c := range []corev1.Container{pod.InitContainers[0], pod.Containers[0]} {
				got := load(t, c, file)
				if wantInit := c.Name == "init"; got.InitOnly != wantInit || got.HostnameOverride != "node1" || string(got.Mode) != string(settings(t, objects).Mode) {
					t.Errorf("%s: init only: %v; node %q, mode %s", c.Name, got.InitOnly, got.HostnameOverride, got.Mode)
				}
			}
		})
	}
}

// load reads the settings of a container as `fairlead run` does, from a copy of the file.
func load(t *testing.T, c corev1.Container, file string) *config.Config {
	t.Helper()
	args := strings.NewReplacer("/etc/fairlead/config.conf", file, "$(NODE_NAME)", "node1").Replace(strings.Join(c.Args[1:], "\n"))
	flags := pflag.NewFlagSet(c.Args[0], pflag.ContinueOnError)
	line := config.NewCommandLine(flags)
	if err := flags.Parse(strings.Split(args, "\n")); err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	logger := funcr.New(func(_, words string) { t.Errorf("%s: logs: %s", c.Name, words) }, funcr.Options{})
	got, err := line.Load(logger)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return got
}
