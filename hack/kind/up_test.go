// Package kind tests up.sh, on machines that have no Docker.
package kind

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake writes down how it is called, and says what kind says of its clusters.
const fake = `#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
case "$(basename "$0") $*" in
"kind get clusters") echo $CLUSTERS ;;
"$FAIL"*) exit 1 ;;
esac
`

// up runs up.sh with nothing but fakes for what it calls, and returns their calls.
func up(t *testing.T, clusters, fail string, programs ...string) (calls []string, said string, err error) {
	t.Helper()
	bin := t.TempDir()
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(bin, program), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"bash", "sh", "dirname", "basename", "git", "grep"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(bin, "log")
	cmd := exec.Command("./up.sh")
	cmd.Env = []string{"PATH=" + bin, "LOG=" + log, "CLUSTERS=" + clusters, "FAIL=" + fail}
	out, err := cmd.CombinedOutput()
	text, _ := os.ReadFile(log)
	return slices.Collect(strings.Lines(string(text))), string(out), err
}

func TestUp(t *testing.T) {
	tests := []struct {
		name, clusters string
		create         bool
	}{
		{"makes a cluster where there is none", "", true},
		{"makes a cluster beside others", "kind fairlead-2", true},
		{"rolls Fairlead out anew in the cluster that there is", "fairlead", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, said, err := up(t, test.clusters, "none", "docker", "kind", "kubectl")
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
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
		})
	}
}

func TestUpMakesNoClusterForAnImageThatCannotBeBuilt(t *testing.T) {
	calls, said, err := up(t, "", "docker build", "docker", "kind", "kubectl")
	if err == nil || len(calls) != 1 {
		t.Errorf("%v: %s\nthe calls: %q", err, said, calls)
	}
}

func TestUpNamesWhatIsMissing(t *testing.T) {
	calls, said, err := up(t, "", "none", "kubectl")
	if err == nil || len(calls) > 0 || !strings.Contains(said, "docker kind\n") {
		t.Errorf("%v: %s\nthe calls: %q", err, said, calls)
	}
}
