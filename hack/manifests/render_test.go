package manifests

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
)

const (
	root      = "../../manifests/"
	namespace = "kube-system"
	// unset is the placeholder for the API server's address in the base.
	unset = "api-server.invalid"
)

// allValues sets every value of the chart.
const allValues = `
apiServer: {host: "fd00::1", port: 443}
image:
  repository: registry.example/fairlead
  tag: v1.2.3
  digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  pullPolicy: Always
  pullSecrets: [{name: registry}]
config:
  apiVersion: kubeproxy.config.k8s.io/v1alpha1
  kind: KubeProxyConfiguration
  mode: ipvs
  clusterCIDR: 10.0.0.0/8
  healthzBindAddress: "[::]:10300"
  conntrack: {min: 1048576}
  ipvs: {scheduler: mh}
extraConfig:
- {apiVersion: fairlead.dev/v1alpha1, kind: FairleadConfiguration, takeOver: false}
restartOnConfigChange: true
extraArgs: [--v=2]
maxUnavailable: 10%
nodeSelector: {fairlead.dev/canary: "true"}
tolerations: [{key: example, operator: Exists}]
capabilities: [NET_ADMIN]
resources: {limits: {memory: 1Gi}}
podLabels: {team: net}
podAnnotations: {example: "1"}
`

// values reads values as Helm does.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	read, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func kustomize(t *testing.T, overlay string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Kustomize(root + "overlays/" + overlay)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(objects)
}

// helm renders the chart with its default values, the mode, and the one value that is required.
func helm(t *testing.T, mode string) []*unstructured.Unstructured {
	t.Helper()
	return helmWith(t, map[string]any{"apiServer": map[string]any{"host": unset}, "config": map[string]any{"mode": mode}})
}

func helmWith(t *testing.T, values map[string]any) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Helm(root+"chart", namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(objects)
}

func sorted(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(title(a), title(b)) })
	return objects
}

func title(o *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", o.GroupVersionKind(), o.GetNamespace(), o.GetName())
}

// typed decodes objects into the API's types. An unknown field fails the test.
func typed(t *testing.T, objects []*unstructured.Unstructured) []runtime.Object {
	t.Helper()
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Strict: true})
	var all []runtime.Object
	for _, o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", title(o), err)
			continue
		}
		all = append(all, object)
	}
	return all
}

// the returns the only object of a type.
func the[T runtime.Object](t *testing.T, objects []*unstructured.Unstructured) T {
	t.Helper()
	var found []T
	for _, o := range typed(t, objects) {
		if object, ok := o.(T); ok {
			found = append(found, object)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want one", len(found), *new(T))
	}
	return found[0]
}

// settings decodes the KubeProxyConfiguration in the ConfigMap strictly.
func settings(t *testing.T, objects []*unstructured.Unstructured) *kubeproxy.KubeProxyConfiguration {
	t.Helper()
	text := the[*corev1.ConfigMap](t, objects).Data["config.conf"]
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	first, err := documents.Read()
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	kinds := runtime.NewScheme()
	if err := kubeproxy.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, kinds, kinds, json.SerializerOptions{Yaml: true, Strict: true})
	object, _, err := strict.Decode(first, nil, nil)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return object.(*kubeproxy.KubeProxyConfiguration)
}
