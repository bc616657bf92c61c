package manifests

import (
	"encoding/json"
	"maps"
	"net"
	"os"
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

// eachRendering runs a test on every overlay, the chart, and the chart with every value set.
func eachRendering(t *testing.T, test func(t *testing.T, objects []*unstructured.Unstructured)) {
	t.Helper()
	eachDefault(t, test)
	t.Run("chart with all values", func(t *testing.T) { test(t, helmWith(t, values(t, allValues))) })
}

// eachDefault runs a test on every overlay and on the chart.
func eachDefault(t *testing.T, test func(t *testing.T, objects []*unstructured.Unstructured)) {
	t.Helper()
	for _, overlay := range []string{"iptables", "ipvs", "kind"} {
		t.Run(overlay, func(t *testing.T) { test(t, kustomize(t, overlay)) })
	}
	t.Run("chart", func(t *testing.T) { test(t, helm(t, "iptables")) })
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

// checksum is the annotation that restarts the pods when the configuration changes. kustomize has no counterpart.
const checksum = "checksum/config"

// withoutData returns the objects without the text in the ConfigMap, which is compared decoded, and without the checksum of it.
func withoutData(objects []*unstructured.Unstructured) []map[string]any {
	var all []map[string]any
	for _, o := range objects {
		o = o.DeepCopy()
		delete(o.Object, "data")
		annotations := []string{"spec", "template", "metadata", "annotations"}
		unstructured.RemoveNestedField(o.Object, append(annotations, checksum)...)
		if left, _, _ := unstructured.NestedMap(o.Object, annotations...); len(left) == 0 {
			unstructured.RemoveNestedField(o.Object, annotations...)
		}
		all = append(all, o.Object)
	}
	return all
}

func TestChartRequiresTheAPIServer(t *testing.T) {
	_, err := Helm(root+"chart", namespace, nil)
	if err == nil || !strings.Contains(err.Error(), "apiServer.host") {
		t.Errorf("got %v", err)
	}
}

func TestChartUsesEveryValue(t *testing.T) {
	objects := helmWith(t, values(t, allValues))
	ds := the[*appsv1.DaemonSet](t, objects)
	template := ds.Spec.Template
	pod := template.Spec
	init, main := pod.InitContainers[0], pod.Containers[0]
	c := settings(t, objects)
	const image = "registry.example/fairlead@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for what, pair := range map[string][2]any{
		"mode":            {string(c.Mode), "ipvs"},
		"clusterCIDR":     {c.ClusterCIDR, "10.0.0.0/8"},
		"scheduler":       {c.IPVS.Scheduler, "mh"},
		"a large number":  {*c.Conntrack.Min, int32(1 << 20)},
		"image":           {main.Image, image},
		"pull policy":     {main.ImagePullPolicy, corev1.PullAlways},
		"pull secrets":    {pod.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "registry"}}},
		"API server":      {env(main, "KUBERNETES_SERVICE_HOST"), "fd00::1"},
		"port":            {env(main, "KUBERNETES_SERVICE_PORT"), "443"},
		"arguments":       {slices.Contains(main.Args, "--v=2") && slices.Contains(init.Args, "--v=2"), true},
		"memory limit":    {main.Resources.Limits.Memory().String(), "1Gi"},
		"init's memory":   {init.Resources.Limits.Memory().String(), "1Gi"},
		"max unavailable": {ds.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "10%"},
		"node selector":   {pod.NodeSelector, map[string]string{"kubernetes.io/os": "linux", "fairlead.dev/canary": "true"}},
		"tolerations":     {pod.Tolerations, []corev1.Toleration{{Key: "example", Operator: corev1.TolerationOpExists}}},
		"capabilities":    {main.SecurityContext.Capabilities.Add, []corev1.Capability{"NET_ADMIN"}},
		"pod labels":      {template.Labels["team"], "net"},
		"pod annotations": {template.Annotations["example"], "1"},
		"a checksum":      {len(template.Annotations[checksum]), 64},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	text := the[*corev1.ConfigMap](t, objects).Data["config.conf"]
	if !strings.Contains(text, "\n---\napiVersion: fairlead.dev/v1alpha1\nkind: FairleadConfiguration\ntakeOver: false") {
		t.Errorf("no second document in:\n%s", text)
	}
}

// The schema, values.yaml and allValues list the same values.
func TestSchemaDescribesEveryValue(t *testing.T) {
	var schema property
	if err := readJSON(root+"chart/values.schema.json", &schema); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	described := schema.names("")
	described = slices.DeleteFunc(described, func(name string) bool { return name == "global" })
	for name, read := range map[string]map[string]any{"values.yaml": values(t, string(text)), "the test": values(t, allValues)} {
		if diff := cmp.Diff(described, names(read, schema, "")); diff != "" {
			t.Errorf("(-values.schema.json +%s):\n%s", name, diff)
		}
	}
}

// property is a part of a JSON schema.
type property struct {
	Description          string
	AdditionalProperties any
	Properties           map[string]property
}

// closed reports whether the schema lists every property of an object.
func (p property) closed() bool { return p.AdditionalProperties == false && len(p.Properties) > 0 }

// names returns the paths of the described values.
func (p property) names(prefix string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.Properties)) {
		part := p.Properties[name]
		if part.closed() {
			all = append(all, part.names(prefix+name+".")...)
		} else if part.Description != "" {
			all = append(all, prefix+name)
		}
	}
	return all
}

// names returns the paths of values, as deep as the schema goes.
func names(read map[string]any, schema property, prefix string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if part := schema.Properties[name]; part.closed() {
			all = append(all, names(read[name].(map[string]any), part, prefix+name+".")...)
		} else {
			all = append(all, prefix+name)
		}
	}
	return all
}

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func TestChartRefusesBadValues(t *testing.T) {
	tests := []struct{ name, values, want string }{
		{"a misspelled value", "apiserver: {host: x}", "apiserver"},
		{"a port out of range", "apiServer: {host: x, port: 70000}", "port"},
		{"a URL as the host", "apiServer: {host: 'https://x'}", "host"},
		{"a digest without its algorithm", "image: {digest: 0123}", "digest"},
		{"an unknown pull policy", "image: {pullPolicy: Sometimes}", "pullPolicy"},
		{"another kind of configuration", "config: {kind: KubeletConfiguration}", "kind"},
		{"a second document without a kind", "extraConfig: [{apiVersion: fairlead.dev/v1alpha1}]", "kind"},
		{"an update that never starts", "maxUnavailable: 0", "maxUnavailable"},
		{"capabilities without NET_ADMIN", "capabilities: [NET_RAW]", "capabilities"},
		{"the kubeconfig of kubeadm's kube-proxy", "{apiServer: {host: x}, config: {clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}}}",
			"clientConnection.kubeconfig"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Helm(root+"chart", namespace, values(t, test.values)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %s", err, test.want)
			}
		})
	}
}

func TestChecksumFollowsTheConfiguration(t *testing.T) {
	annotations := func(text string) map[string]string {
		return the[*appsv1.DaemonSet](t, helmWith(t, values(t, text))).Spec.Template.Annotations
	}
	iptables := annotations("{apiServer: {host: x}}")[checksum]
	if other := annotations("{apiServer: {host: x}, extraArgs: [--v=3]}")[checksum]; other != iptables {
		t.Error("the checksum changes without the configuration")
	}
	if other := annotations("{apiServer: {host: x}, config: {mode: ipvs}}")[checksum]; other == iptables {
		t.Error("the checksum does not change with the configuration")
	}
	if got := annotations("{apiServer: {host: x}, config: {mode: ipvs}, restartOnConfigChange: false}"); len(got) > 0 {
		t.Errorf("annotations %v with restartOnConfigChange: false", got)
	}
}

func TestOverlaySettings(t *testing.T) {
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

// An init container of another version would prepare the node for other settings.
func TestBothContainersHaveTheSameImageAndArguments(t *testing.T) {
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

func TestProbesUseTheConfiguredPort(t *testing.T) {
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

func TestChartProbesFollowHealthzBindAddress(t *testing.T) {
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
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}},
			SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"},
		}
		got := pod.Containers[0].SecurityContext.DeepCopy()
		if slices.Equal(got.Capabilities.Add, []corev1.Capability{"NET_ADMIN"}) { // the chart can drop NET_RAW
			got.Capabilities.Add = want.Capabilities.Add
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if !m.ReadOnly && m.MountPath != "/run/xtables.lock" {
				t.Errorf("%s can be written to", m.MountPath)
			}
		}
	})
}

// Beside the old pod, a new one would wait for the lock of the node, and the old one would answer its probes.
func TestUpdateReplacesOneNodeAtATimeWithoutSurge(t *testing.T) {
	eachDefault(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		s := the[*appsv1.DaemonSet](t, objects).Spec.UpdateStrategy
		want := appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(1))}}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Declared ports are host ports here: the scheduler would not place the pod beside a kube-proxy that declares the same ones.
func TestPodDeclaresNoPorts(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			if len(c.Ports) > 0 {
				t.Errorf("%s names ports %v", c.Name, c.Ports)
			}
		}
	})
}

func TestPodToleratesEveryTaint(t *testing.T) {
	eachDefault(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		pod := the[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
		if want := []corev1.Toleration{{Operator: corev1.TolerationOpExists}}; !slices.Equal(pod.Tolerations, want) {
			t.Errorf("tolerations %v", pod.Tolerations)
		}
	})
}

// kube-prometheus and other scrape configurations for kube-proxy select the label k8s-app.
func TestPodLabelsAndPriority(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []*unstructured.Unstructured) {
		ds := the[*appsv1.DaemonSet](t, objects)
		pod := ds.Spec.Template.Spec
		if pod.PriorityClassName != "system-node-critical" {
			t.Errorf("priority class %q", pod.PriorityClassName)
		}
		if got := ds.Spec.Template.Labels["k8s-app"]; got != "kube-proxy" {
			t.Errorf("k8s-app: %q, want kube-proxy", got)
		}
		for key, value := range ds.Spec.Selector.MatchLabels {
			if ds.Spec.Template.Labels[key] != value {
				t.Errorf("the selector asks for %s=%s, the pods have %v", key, value, ds.Spec.Template.Labels)
			}
		}
	})
}

func TestRoleIsBoundToTheAccountOfThePod(t *testing.T) {
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
