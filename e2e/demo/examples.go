package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// The Services that the demo uses, by name.
const (
	clusterIPService = "my-service"
	nodePortService  = "my-nodeport"
	emptyService     = "no-endpoints"
)

// examples is what a folder of manifests holds.
type examples struct {
	files    map[string][]runtime.Object // by path, in the order they stand there
	services map[string]*corev1.Service
	slices   []*discoveryv1.EndpointSlice
	node     *corev1.Node // where Fairlead runs
}

// readExamples reads all manifests of a folder, and finds in them what the demo needs.
func readExamples(dir string) (*examples, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list the examples: %w", err)
	}
	e := &examples{files: map[string][]runtime.Object{}, services: map[string]*corev1.Service{}}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read an example: %w", err)
		}
		if e.files[path], err = decode(data); err != nil {
			return nil, fmt.Errorf("read the example %s: %w", filepath.Base(path), err)
		}
		for _, o := range e.files[path] {
			e.sort(o)
		}
	}
	return e, e.complete()
}

func (e *examples) sort(o runtime.Object) {
	switch o := o.(type) {
	case *corev1.Service:
		e.services[o.Name] = o
	case *discoveryv1.EndpointSlice:
		e.slices = append(e.slices, o)
	case *corev1.Node:
		e.node = o
	}
}

// complete tells whether all is there that the demo shows something of.
func (e *examples) complete() error {
	for _, name := range []string{clusterIPService, nodePortService, emptyService} {
		svc := e.services[name]
		switch {
		case svc == nil:
			return fmt.Errorf("the examples have no Service %s", name)
		case len(svc.Spec.ClusterIPs) != 2 || len(svc.Spec.Ports) != 1:
			return fmt.Errorf("the Service %s of the examples needs two clusterIPs, one for each family, and one port", name)
		}
	}
	if nodePort(e.services[nodePortService]) == 0 {
		return fmt.Errorf("the Service %s of the examples has no nodePort", nodePortService)
	}
	if e.node == nil {
		return errors.New("the examples have no Node")
	}
	return nil
}

// decode reads the documents of a manifest. A typing error in the name of a field is an error here, as on an API server.
func decode(data []byte) ([]runtime.Object, error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err == nil {
			var o runtime.Object
			o, _, err = decoder.Decode(document, nil, nil)
			objects = append(objects, o)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
	}
}
