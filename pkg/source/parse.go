package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// parseManifest reads the Services, EndpointSlices and Nodes of a file of YAML or JSON documents, Lists among them. Other
// kinds it passes over. An error names the document, counted from one.
func parseManifest(data []byte) ([]object, error) {
	var objects []object
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err == nil {
			var found []object
			found, err = parseDocument(document)
			objects = append(objects, found...)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
	}
}

func parseDocument(document []byte) ([]object, error) {
	raw, err := yaml.ToJSON(document)
	if err != nil {
		return nil, err
	}
	if raw = bytes.TrimSpace(raw); bytes.Equal(raw, []byte("null")) {
		return nil, nil // comments only
	}
	decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return nil, nil // a kind of somebody's own
	}
	if err != nil {
		return nil, err
	}
	return pick(decoded)
}

func pick(decoded runtime.Object) ([]object, error) {
	switch o := decoded.(type) {
	case *corev1.List:
		var all []object
		for i := range o.Items {
			found, err := parseDocument(o.Items[i].Raw)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
			all = append(all, found...)
		}
		return all, nil
	case *corev1.ServiceList:
		return pickItems(o.Items)
	case *discoveryv1.EndpointSliceList:
		return pickItems(o.Items)
	case *corev1.Service, *discoveryv1.EndpointSlice, *corev1.Node:
		found := o.(object)
		if found.GetName() == "" {
			return nil, fmt.Errorf("%s has no metadata.name", decoded.GetObjectKind().GroupVersionKind().Kind)
		}
		if _, isNode := o.(*corev1.Node); !isNode && found.GetNamespace() == "" {
			found.SetNamespace(corev1.NamespaceDefault)
		}
		trimmed, err := trim(o)
		return []object{trimmed.(object)}, err
	}
	return nil, nil
}

func pickItems[T any, P interface {
	*T
	runtime.Object
}](items []T) ([]object, error) {
	var all []object
	for i := range items {
		found, err := pick(P(&items[i]))
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		all = append(all, found...)
	}
	return all, nil
}
