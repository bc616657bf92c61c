package source

import (
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// sink logs once that the API server does not allow Fairlead to write events, and what to do about it. client-go logs each event that is
// rejected, without a remedy.
type sink struct {
	record.EventSink
	logger  klog.Logger
	refused atomic.Bool
}

// Create implements record.EventSink.
func (s *sink) Create(event *corev1.Event) (*corev1.Event, error) {
	created, err := s.EventSink.Create(event)
	s.result(err)
	return created, err
}

// Patch implements record.EventSink.
func (s *sink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	patched, err := s.EventSink.Patch(event, data)
	s.result(err)
	return patched, err
}

func (s *sink) result(err error) {
	switch {
	case err == nil:
		if s.refused.Swap(false) {
			s.logger.Info("Writing events again", "resource", "events")
		}
	case apierrors.IsForbidden(err):
		if !s.refused.Swap(true) {
			s.logger.Error(err, "Cannot write events; forwarding does not depend on them", "resource", "events",
				"action", "let Fairlead's user or ServiceAccount create and patch events in all namespaces, as the ClusterRole system:node-proxier does")
		}
	}
}
