package source

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// Events tells the users of a Service what is wrong with it.
type Events func(service types.NamespacedName, reason, message string)

// Events implements Source: they are recorded at the API server.
func (s *APIServer) Events(ctx context.Context) Events {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: s.Client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "fairlead", Host: s.NodeName})
	return func(service types.NamespacedName, reason, message string) {
		recorder.Event(&corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: service.Namespace, Name: service.Name},
			corev1.EventTypeWarning, reason, message)
	}
}

// Events implements Source: they are logged.
func (m *Manifests) Events(ctx context.Context) Events {
	logger := klog.FromContext(ctx)
	return func(service types.NamespacedName, reason, message string) {
		logger.Info("Event", "service", service, "reason", reason, "message", message)
	}
}
