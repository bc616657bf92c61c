package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

const guide = "../../docs/install.md"

// The overlay that docs/install.md describes renders, with what it sets.
func TestOverlayOfTheGuide(t *testing.T) {
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(copied, "overlays", "iptables")
	file, err := os.OpenFile(filepath.Join(mine, "kustomization.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(heredoc(t)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	objects, err := Kustomize(mine)
	if err != nil {
		t.Fatal(err)
	}
	pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	main := pod.Containers[0]
	if host, port := env(main, "KUBERNETES_SERVICE_HOST"), env(main, "KUBERNETES_SERVICE_PORT"); host != "10.0.0.10" || port != "6443" {
		t.Errorf("API server at %q, port %q", host, port)
	}
	if want := "registry.example/fairlead:v1"; main.Image != want || pod.InitContainers[0].Image != want {
		t.Errorf("images %q and %q, want %q", pod.InitContainers[0].Image, main.Image, want)
	}
}

// heredoc returns what the reader of the guide writes with <<'END'.
func heredoc(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(readGuide(t), "<<'END'\n")
	within, _, ended := strings.Cut(rest, "\n    END\n")
	if !found || !ended {
		t.Fatalf("%s writes no file with <<'END'", guide)
	}
	return dedent("\n" + within + "\n")
}

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dedent removes the indentation of a code block.
func dedent(text string) string { return strings.ReplaceAll(text, "\n    ", "\n") }

// The patches for kube-proxy's DaemonSet have no unknown fields.
func TestPatchesOfTheGuide(t *testing.T) {
	patches := regexp.MustCompile(`(?s)--patch '(\n.*?)'\n`).FindAllStringSubmatch(readGuide(t), -1)
	if len(patches) < 3 {
		t.Fatalf("%d patches in %s, want those to stop kube-proxy, to start it again, and for one node", len(patches), guide)
	}
	for _, patch := range patches {
		text := dedent(patch[1])
		var ds appsv1.DaemonSet
		if err := yaml.UnmarshalStrict([]byte(text), &ds); err != nil {
			t.Errorf("%v in:\n%s", err, text)
		}
		if pod := ds.Spec.Template.Spec; pod.NodeSelector == nil && pod.Affinity == nil {
			t.Errorf("this does not choose nodes:\n%s", text)
		}
	}
}

func TestCleanup(t *testing.T) {
	objects, err := Kustomize(root + "cleanup")
	if err != nil {
		t.Fatal(err)
	}
	cleanup, main := the[*appsv1.DaemonSet](t, objects), the[*appsv1.DaemonSet](t, kustomize(t, "iptables")).Spec.Template.Spec
	pod := cleanup.Spec.Template.Spec
	if cleanup.Namespace != namespace || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("in namespace %q, with a token: %v", cleanup.Namespace, pod.AutomountServiceAccountToken)
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if c.Image != main.Containers[0].Image {
			t.Errorf("%s runs %s, want %s", c.Name, c.Image, main.Containers[0].Image)
		}
	}
	if got := pod.InitContainers[0].Args; len(got) != 1 || got[0] != "cleanup" {
		t.Errorf("it runs fairlead %q", got)
	}
	if s := pod.InitContainers[0].SecurityContext; s == nil || s.Privileged == nil || !*s.Privileged {
		t.Error("it cannot write sysctls: it is not privileged")
	}
}
