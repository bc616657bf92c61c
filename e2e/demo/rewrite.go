package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/e2e/lab"
)

// addPod writes a pod into every EndpointSlice, as a control plane does once the pod is ready.
func (e *examples) addPod(p pod) error {
	return e.rewrite(func(slice *discoveryv1.EndpointSlice, f lab.Family) {
		added := *slice.Endpoints[0].DeepCopy()
		added.Addresses = []string{p.Address(f).String()}
		added.NodeName = &p.node
		added.TargetRef.Name = p.name
		slice.Endpoints = append(slice.Endpoints, added)
	})
}

// removePod takes a pod out of every EndpointSlice.
func (e *examples) removePod(p pod) error {
	return e.rewrite(func(slice *discoveryv1.EndpointSlice, f lab.Family) {
		slice.Endpoints = slices.DeleteFunc(slice.Endpoints, func(endpoint discoveryv1.Endpoint) bool {
			return endpoint.Addresses[0] == p.Address(f).String()
		})
	})
}

// rewrite changes all slices and writes the files they stand in.
func (e *examples) rewrite(change func(*discoveryv1.EndpointSlice, lab.Family)) error {
	for path, objects := range e.files {
		changed := false
		for _, o := range objects {
			slice, ok := o.(*discoveryv1.EndpointSlice)
			if !ok {
				continue
			}
			change(slice, family(slice))
			changed = true
		}
		if !changed {
			continue
		}
		if err := writeManifest(path, objects); err != nil {
			return fmt.Errorf("change the endpoints: %w", err)
		}
	}
	return nil
}

// writeManifest replaces a file in one step, so that nobody reads half of it.
func writeManifest(path string, objects []runtime.Object) error {
	var text bytes.Buffer
	for _, o := range objects {
		document, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "---\n%s", document)
	}
	if err := os.WriteFile(path+".new", text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
