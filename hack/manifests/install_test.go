package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// docs/install.md has its readers make an overlay. This does what they do.
func TestTheOverlayOfTheInstallationGuide(t *testing.T) {
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(copied, "overlays", "iptables")
	file, err := os.OpenFile(filepath.Join(mine, "kustomization.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(heredoc(t, "../../docs/install.md")); err != nil {
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

// heredoc is what a guide has its reader write by <<'END'.
func heredoc(t *testing.T, guide string) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<<'END'\n")
	within, _, ended := strings.Cut(rest, "\n    END\n")
	if !found || !ended {
		t.Fatalf("%s writes no file by <<'END'", guide)
	}
	return strings.ReplaceAll("\n"+within+"\n", "\n    ", "\n")
}

func TestCleanupRunsTheImageOfTheOthersWithoutTheAPIServer(t *testing.T) {
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
}
