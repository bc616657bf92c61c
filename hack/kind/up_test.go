// Package kind tests the scripts that need Docker or its like, on machines that have none: up.sh and hack/image/image.sh.
package kind

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake records how it is called, and answers the questions of the scripts.
const fake = `#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
case "$(basename "$0") $*" in
"kind get clusters") echo $CLUSTERS ;;
*"get service kube-dns"*) echo 10.96.0.10 ;;
"$FAIL"*) exit 1 ;;
esac
`

// run runs a script with fakes for the programs that it calls, and returns their calls.
func run(t *testing.T, script string, environment []string, programs ...string) (calls []string, output string, err error) {
	t.Helper()
	bin := t.TempDir()
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(bin, program), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"bash", "sh", "dirname", "basename", "git", "grep", "cat"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(bin, "log")
	cmd := exec.Command(script)
	cmd.Env = append([]string{"PATH=" + bin, "LOG=" + log, "CLUSTERS=", "FAIL=none"}, environment...)
	out, err := cmd.CombinedOutput()
	text, _ := os.ReadFile(log)
	return slices.Collect(strings.Lines(string(text))), string(out), err
}

func TestUp(t *testing.T) {
	tests := []struct {
		name, clusters string
		create         bool
	}{
		{"without a cluster", "", true},
		{"beside other clusters", "kind fairlead-2", true},
		{"in the existing cluster", "fairlead", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, output, err := run(t, "./up.sh", []string{"CLUSTERS=" + test.clusters}, "docker", "kind", "kubectl")
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			all := strings.Join(calls, "")
			for text, want := range map[string]bool{
				"kind create cluster --config hack/kind/config.yaml\n":                                            test.create,
				"kubectl --context kind-fairlead -n kube-system rollout restart daemonset/fairlead\n":             !test.create,
				"kind load docker-image docker.io/fairlead/fairlead:dev --name fairlead\n":                        true,
				"kubectl --context kind-fairlead apply -k manifests/overlays/kind\n":                              true,
				"kubectl --context kind-fairlead -n kube-system rollout status daemonset/fairlead --timeout=5m\n": true,
				"kubectl --context kind-fairlead wait --for=condition=Ready nodes --all --timeout=5m\n":           true,
			} {
				if strings.Contains(all, text) != want {
					t.Errorf("%q is called: %v, want %v; the calls:\n%s", text, !want, want, all)
				}
			}
			if !strings.HasPrefix(calls[0], "docker build --tag docker.io/fairlead/fairlead:dev ") {
				t.Errorf("the image is not built first:\n%s", all)
			}
			last := calls[len(calls)-1]
			if !strings.HasPrefix(last, "docker exec fairlead-worker curl ") || !strings.HasSuffix(last, " http://10.96.0.10:9153/metrics\n") {
				t.Errorf("it does not wait until a Service answers:\n%s", all)
			}
			if !strings.Contains(output, "What to try next") {
				t.Errorf("it ends with:\n%s", output)
			}
		})
	}
}

func TestUpStopsAtTheFirstFailure(t *testing.T) {
	tests := []struct {
		name, fail string
		calls      int
	}{
		{"the image cannot be built: no cluster is created", "docker build", 1},
		{"no Service answers", "docker exec", 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, output, err := run(t, "./up.sh", []string{"FAIL=" + test.fail}, "docker", "kind", "kubectl")
			if err == nil || len(calls) != test.calls || strings.Contains(output, "What to try next") {
				t.Errorf("%v: %s\n%d calls, want %d: %q", err, output, len(calls), test.calls, calls)
			}
		})
	}
}

func TestUpNamesMissingPrograms(t *testing.T) {
	calls, output, err := run(t, "./up.sh", nil, "kubectl")
	if err == nil || len(calls) > 0 || !strings.Contains(output, "docker kind\n") {
		t.Errorf("%v: %s\nthe calls: %q", err, output, calls)
	}
}

func TestImageIsBuiltByWhatWorks(t *testing.T) {
	all := []string{"docker", "podman", "buildah"}
	tests := []struct {
		name        string
		environment []string
		programs    []string
		want        string // the last call
	}{
		{"the first of all", nil, all, "docker build --tag docker.io/fairlead/fairlead:dev "},
		{"docker without a daemon", []string{"FAIL=docker info"}, all, "podman build --tag docker.io/fairlead/fairlead:dev "},
		{"buildah alone", nil, []string{"buildah"}, "buildah build --layers --tag docker.io/fairlead/fairlead:dev "},
		{"the one that is named", []string{"BUILDER=buildah"}, all, "buildah build --layers --tag docker.io/fairlead/fairlead:dev "},
		{"another name, version and platform", []string{"IMAGE=registry.example/fairlead:v1", "VERSION=v1", "PLATFORM=linux/arm64"}, all,
			"docker build --tag registry.example/fairlead:v1 --build-arg VERSION=v1 --platform linux/arm64 .\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, output, err := run(t, "../image/image.sh", test.environment, test.programs...)
			if err != nil || len(calls) == 0 || !strings.HasPrefix(calls[len(calls)-1], test.want) {
				t.Errorf("%v: %s\ngot the calls %q, want %q last", err, output, calls, test.want)
			}
		})
	}
}

func TestImageNeedsABuilder(t *testing.T) {
	tests := []struct {
		name, want  string
		environment []string
	}{
		{"none that works", "none of docker, podman and buildah works here", []string{"FAIL=docker info"}},
		{"an unknown one", "unknown BUILDER kaniko", []string{"BUILDER=kaniko"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, output, err := run(t, "../image/image.sh", test.environment, "docker")
			if err == nil || !strings.Contains(output, test.want) {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}
