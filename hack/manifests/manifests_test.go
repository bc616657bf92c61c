package manifests

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eachRendering runs a test on everything that can be installed.
func eachRendering(t *testing.T, test func(t *testing.T, objects []*unstructured.Unstructured)) {
	t.Helper()
	for name, objects := range renderings(t) {
		t.Run(name, func(t *testing.T) { test(t, objects) })
	}
}

func TestObjectsHaveNoUnknownFields(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		if len(typed(t, objects)) != 5 {
			t.Errorf("%d objects, want a ServiceAccount, a ClusterRole, its binding, a ConfigMap and a DaemonSet", len(objects))
		}
		for _, o := range objects {
			if strings.HasPrefix(o.GetKind(), "ClusterRole") == (o.GetNamespace() == namespace) {
				t.Errorf("%s is in namespace %q", title(o), o.GetNamespace())
			}
			if o.GetLabels()["app.kubernetes.io/name"] != "fairlead" {
				t.Errorf("%s has labels %v", title(o), o.GetLabels())
			}
		}
	})
}

func TestChartAndKustomizeGiveTheSameObjects(t *testing.T) {
	for _, mode := range []string{"iptables", "ipvs"} {
		t.Run(mode, func(t *testing.T) {
			want, got := kustomize(t, mode), helm(t, mode)
			if diff := cmp.Diff(settings(t, want), settings(t, got)); diff != "" {
				t.Errorf("settings (-kustomize +chart):\n%s", diff)
			}
			if diff := cmp.Diff(withoutData(want), withoutData(got)); diff != "" {
				t.Errorf("objects (-kustomize +chart):\n%s", diff)
			}
		})
	}
}

// withoutData is the objects but for what a ConfigMap holds, which is text with comments.
func withoutData(objects []*unstructured.Unstructured) []map[string]any {
	var all []map[string]any
	for _, o := range objects {
		o = o.DeepCopy()
		delete(o.Object, "data")
		all = append(all, o.Object)
	}
	return all
}

func TestChartRefusesToGuessTheAPIServer(t *testing.T) {
	_, err := Helm(root+"chart", namespace, nil)
	if err == nil || !strings.Contains(err.Error(), "apiServer.host") {
		t.Errorf("got %v", err)
	}
}

func TestChartTakesUpAllValues(t *testing.T) {
	objects := helmWith(t, allValues())
	pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	main := pod.Containers[0]
	c := settings(t, objects)
	got := []any{string(c.Mode), c.ClusterCIDR, c.IPVS.Scheduler, main.Image, main.ImagePullPolicy, pod.ImagePullSecrets, env(main, "KUBERNETES_SERVICE_HOST"),
		env(main, "KUBERNETES_SERVICE_PORT"), slices.Contains(main.Args, "--v=2"), slices.Contains(pod.InitContainers[0].Args, "--v=2"), main.Resources.Limits.Memory().String()}
	want := []any{"ipvs", "10.0.0.0/8", "mh", "registry.example/fairlead:v1.2.3", corev1.PullAlways, []corev1.LocalObjectReference{{Name: "registry"}}, "fd00::1",
		"443", true, true, "1Gi"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := the[*corev1.ConfigMap](t, objects).Data["config.conf"]; !strings.Contains(text, "\n---\napiVersion: example/v1\nkind: Example\n") {
		t.Errorf("the second document is not in:\n%s", text)
	}
}

func TestEachOverlayHasItsSettings(t *testing.T) {
	tests := map[string]struct{ mode, apiServer string }{
		"iptables": {"iptables", unset},
		"ipvs":     {"ipvs", unset},
		"kind":     {"iptables", "fairlead-control-plane"},
	}
	for overlay, want := range tests {
		t.Run(overlay, func(t *testing.T) {
			objects := kustomize(t, overlay)
			if mode := string(settings(t, objects).Mode); mode != want.mode {
				t.Errorf("mode %q, want %q", mode, want.mode)
			}
			if host := env(the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec.Containers[0], "KUBERNETES_SERVICE_HOST"); host != want.apiServer {
				t.Errorf("API server at %q, want %q", host, want.apiServer)
			}
		})
	}
}

func env(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// An init container of another version would prepare the node for something else.
func TestBothContainersAreOfOneImageAndOneConfiguration(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
		init, main := pod.InitContainers[0], pod.Containers[0]
		if init.Image != main.Image || init.ImagePullPolicy != main.ImagePullPolicy {
			t.Errorf("init runs %s (%s), main runs %s (%s)", init.Image, init.ImagePullPolicy, main.Image, main.ImagePullPolicy)
		}
		args := slices.DeleteFunc(slices.Clone(init.Args), func(arg string) bool { return arg == "--init-only" })
		if len(args) != len(init.Args)-1 || !slices.Equal(args, main.Args) {
			t.Errorf("init has arguments %q, main has %q; they should differ in --init-only alone", init.Args, main.Args)
		}
	})
}

func TestProbesAskWhereTheSettingsListen(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		address := settings(t, objects).HealthzBindAddress
		if address == "" {
			address = "0.0.0.0:10256"
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		main := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec.Containers[0]
		for path, probe := range map[string]*corev1.Probe{"/readyz": main.ReadinessProbe, "/livez": main.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != port {
				t.Errorf("%s is not asked for on port %s: %+v", path, port, probe)
			}
		}
	})
}

func TestProbesOfTheChartFollowTheAddress(t *testing.T) {
	tests := []struct{ name, address, host, port string }{
		{"none is every address, and kube-proxy's port", "", "", "10256"},
		{"IPv4's wildcard alone", "0.0.0.0", "", "10256"},
		{"IPv4's wildcard with a port", "0.0.0.0:10300", "", "10300"},
		{"IPv6's wildcard alone", "::", "", "10256"},
		{"IPv6's wildcard with a port", "[::]:10300", "", "10300"},
		{"IPv6's wildcard in full", "[0:0:0:0:0:0:0:0]:10300", "", "10300"},
		{"an IPv4 address alone", "127.0.0.1", "127.0.0.1", "10256"},
		{"an IPv4 address with a port", "127.0.0.1:10300", "127.0.0.1", "10300"},
		{"an IPv6 address alone, whose end is no port", "fd00::10300", "fd00::10300", "10256"},
		{"the shortest IPv6 address", "::1", "::1", "10256"},
		{"an IPv6 address with a port", "[fd00::1]:10300", "fd00::1", "10300"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			objects := helmWith(t, map[string]any{"apiServer": map[string]any{"host": unset}, "config": map[string]any{"healthzBindAddress": test.address}})
			main := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec.Containers[0]
			for path, probe := range map[string]*corev1.Probe{"/readyz": main.ReadinessProbe, "/livez": main.LivenessProbe} {
				if got := probe.HTTPGet; got.Path != path || got.Host != test.host || got.Port.String() != test.port || got.Port.Type != intstr.Int {
					t.Errorf("kubelet asks for %s at host %q, port %s, want %s at %q, %s", got.Path, got.Host, &got.Port, path, test.host, test.port)
				}
			}
		})
	}
}

func TestOnlyTheInitContainerIsPrivileged(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
		if len(pod.Containers) != 1 || len(pod.InitContainers) != 1 || pod.HostPID || pod.HostIPC || !pod.HostNetwork {
			t.Fatalf("%d containers, %d init containers, host PIDs %v, IPC %v, network %v", len(pod.Containers), len(pod.InitContainers), pod.HostPID, pod.HostIPC, pod.HostNetwork)
		}
		if s := pod.InitContainers[0].SecurityContext; s.Privileged == nil || !*s.Privileged {
			t.Error("init cannot write below /proc/sys")
		}
		yes, no := true, false
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}},
		}
		if diff := cmp.Diff(want, pod.Containers[0].SecurityContext); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if !m.ReadOnly && m.MountPath != "/run/xtables.lock" {
				t.Errorf("%s can be written to", m.MountPath)
			}
		}
	})
}

// Beside the old pod, the new one waits for the node's lock, and the old one answers its probes.
func TestAnUpdateEndsTheOldPodFirstOnOneNodeAtATime(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		s := the[*appsv1.DaemonSet](t, objects).Spec.UpdateStrategy
		want := appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(1))}}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A kube-proxy that names its ports would keep a pod off the node that names the same ones.
func TestThePodStartsBesideAnyKubeProxy(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			if len(c.Ports) > 0 {
				t.Errorf("%s names ports %v", c.Name, c.Ports)
			}
		}
	})
}

func TestThePodRunsOnEveryNodeAndIsNotEvicted(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		ds := the[*appsv1.DaemonSet](t, objects)
		pod := ds.Spec.Template.Spec
		if pod.PriorityClassName != "system-node-critical" || !slices.Equal(pod.Tolerations, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}) {
			t.Errorf("priority class %q, tolerations %v", pod.PriorityClassName, pod.Tolerations)
		}
		for key, value := range ds.Spec.Selector.MatchLabels {
			if ds.Spec.Template.Labels[key] != value {
				t.Errorf("the selector asks for %s=%s, the pods have %v", key, value, ds.Spec.Template.Labels)
			}
		}
	})
}

func TestTheAccountOfThePodIsTheOneThatHasTheRole(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		account, binding := the[*corev1.ServiceAccount](t, objects), the[*rbacv1.ClusterRoleBinding](t, objects)
		if pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec; pod.ServiceAccountName != account.Name {
			t.Errorf("the pod has account %q, want %q", pod.ServiceAccountName, account.Name)
		}
		want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}}
		if role := the[*rbacv1.ClusterRole](t, objects); binding.RoleRef.Name != role.Name || !slices.Equal(binding.Subjects, want) {
			t.Errorf("role %q is bound to %v, want %q to %v", binding.RoleRef.Name, binding.Subjects, role.Name, want)
		}
	})
}
