// Package source brings the objects that decide about the node's traffic to whoever wants them: from an API server, or from
// a folder of manifests.
package source

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/klog/v2"
)

// Handler takes in objects. Its methods are called one at a time, and must not keep or change an object.
type Handler interface {
	SetService(*corev1.Service)
	DeleteService(namespace, name string)
	SetSlice(*discoveryv1.EndpointSlice)
	DeleteSlice(namespace, name string)
	// SetNode takes in the own Node. It is not told when the Node goes: what was known of it still holds then.
	SetNode(*corev1.Node)
	// Listed is called once: every object that existed at the start has been handed over.
	Listed()
}

// Source hands objects over.
type Source interface {
	// Run hands over what exists, then what changes, until ctx ends. It returns an error only where it cannot start; what goes
	// wrong later it logs, and gets over.
	Run(ctx context.Context, handler Handler) error
	// Events returns where events go until ctx ends.
	Events(ctx context.Context) Events
}

// Handlers hands everything on to several handlers.
type Handlers []Handler

// SetService implements Handler.
func (hs Handlers) SetService(svc *corev1.Service) {
	for _, h := range hs {
		h.SetService(svc)
	}
}

// DeleteService implements Handler.
func (hs Handlers) DeleteService(namespace, name string) {
	for _, h := range hs {
		h.DeleteService(namespace, name)
	}
}

// SetSlice implements Handler.
func (hs Handlers) SetSlice(slice *discoveryv1.EndpointSlice) {
	for _, h := range hs {
		h.SetSlice(slice)
	}
}

// DeleteSlice implements Handler.
func (hs Handlers) DeleteSlice(namespace, name string) {
	for _, h := range hs {
		h.DeleteSlice(namespace, name)
	}
}

// SetNode implements Handler.
func (hs Handlers) SetNode(node *corev1.Node) {
	for _, h := range hs {
		h.SetNode(node)
	}
}

// Listed implements Handler.
func (hs Handlers) Listed() {
	for _, h := range hs {
		h.Listed()
	}
}

// logNoNode says that the own Node is not there. A wrong name is easily given, and shows in nothing but wrong traffic.
func logNoNode(logger klog.Logger, name string) {
	logger.Info("No Node has this node's name, so it cannot be told which endpoints are here; set --hostname-override to the Node's name", "node", name)
}
