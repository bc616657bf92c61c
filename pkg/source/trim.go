package source

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trim takes out of an object what nobody here reads, before it is kept: in a large cluster that is most of it. Objects of
// other types stay as they are.
func trim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Service:
		trimMeta(&o.ObjectMeta)
		o.Spec.Selector = nil
		o.Status.Conditions = nil
	case *discoveryv1.EndpointSlice:
		trimMeta(&o.ObjectMeta)
		for i := range o.Endpoints {
			trimEndpoint(&o.Endpoints[i])
		}
	case *corev1.Node:
		trimMeta(&o.ObjectMeta)
		o.Status = corev1.NodeStatus{Addresses: o.Status.Addresses}
	}
	return object, nil
}

func trimMeta(meta *metav1.ObjectMeta) {
	meta.ManagedFields = nil
	meta.OwnerReferences = nil
	meta.Finalizers = nil
	meta.GenerateName = ""
	delete(meta.Annotations, corev1.LastAppliedConfigAnnotation)
}

func trimEndpoint(e *discoveryv1.Endpoint) {
	e.Hostname = nil
	e.TargetRef = nil
	e.DeprecatedTopology = nil
	if len(e.Addresses) > 1 {
		e.Addresses = e.Addresses[:1] // the rest is unused: see discovery/v1
	}
}
