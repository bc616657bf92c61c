package manifests

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

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
	// unset is what the base has for the API server's address.
	unset = "api-server.invalid"
)

// renderings is everything that can be installed, by name.
func renderings(t *testing.T) map[string][]*unstructured.Unstructured {
	t.Helper()
	all := map[string][]*unstructured.Unstructured{"chart": helm(t, "iptables"), "chart with all values": helmWith(t, allValues())}
	for _, overlay := range []string{"iptables", "ipvs", "kind"} {
		all[overlay] = kustomize(t, overlay)
	}
	return all
}

// allValues sets every value of the chart.
func allValues() map[string]any {
	return map[string]any{
		"apiServer":   map[string]any{"host": "fd00::1", "port": 443},
		"image":       map[string]any{"repository": "registry.example/fairlead", "tag": "v1.2.3", "pullPolicy": "Always", "pullSecrets": []any{map[string]any{"name": "registry"}}},
		"config":      map[string]any{"mode": "ipvs", "clusterCIDR": "10.0.0.0/8", "healthzBindAddress": "[::]:10300", "ipvs": map[string]any{"scheduler": "mh"}},
		"extraConfig": []any{map[string]any{"apiVersion": "example/v1", "kind": "Example"}},
		"extraArgs":   []any{"--v=2"},
		"resources":   map[string]any{"limits": map[string]any{"memory": "1Gi"}},
	}
}

func kustomize(t *testing.T, overlay string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Kustomize(root + "overlays/" + overlay)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(objects)
}

// helm renders the chart as it is, but for what has to be set.
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

// typed reads objects into the API's own types, and fails on a field that these do not have.
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

// the returns the one object of its type.
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

// settings reads the kube-proxy configuration out of the ConfigMap, strictly.
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
