// Package manifests renders the overlays and the chart below manifests/, so that tests can compare them with the API's types, with
// Fairlead, and with each other.
package manifests

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize renders a folder as `kubectl kustomize` and `kubectl apply -k` do.
func Kustomize(folder string) ([]*unstructured.Unstructured, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", folder, err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", folder, err)
	}
	return parse(string(text))
}

// Helm renders a chart as `helm template` does. The values are validated against the chart's schema.
func Helm(folder, namespace string, values map[string]any) ([]*unstructured.Unstructured, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("load the chart in %s: %w", folder, err)
	}
	release := chartutil.ReleaseOptions{Name: "fairlead", Namespace: namespace, IsInstall: true}
	given, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values of the chart in %s: %w", folder, err)
	}
	files, err := engine.Render(chart, given)
	if err != nil {
		return nil, fmt.Errorf("render the chart in %s: %w", folder, err)
	}
	var objects []*unstructured.Unstructured
	for name, text := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		more, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, more...)
	}
	return objects, nil
}

func parse(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		err := documents.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
