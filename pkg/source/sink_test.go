package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2/ktesting"
)

// answers is an API server that answers every event with an error, or takes it.
type answers struct {
	record.EventSink
	err error
}

func (a *answers) Create(event *corev1.Event) (*corev1.Event, error)          { return event, a.err }
func (a *answers) Patch(event *corev1.Event, _ []byte) (*corev1.Event, error) { return event, a.err }

func TestRefusedEventsAreNamedOnceAndSoIsTheirReturn(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", fmt.Errorf("User %q cannot create", "x"))
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	server := &answers{}
	s := &sink{EventSink: server, logger: logger}
	for _, server.err = range []error{nil, forbidden, forbidden, errors.New("refused"), forbidden, nil, nil, forbidden} {
		if _, err := s.Create(&corev1.Event{}); !errors.Is(err, server.err) {
			t.Errorf("got %v, want %v", err, server.err)
		}
		if _, err := s.Patch(&corev1.Event{}, nil); !errors.Is(err, server.err) {
			t.Errorf("got %v, want %v", err, server.err)
		}
	}
	log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	for text, want := range map[string]int{"Cannot write events": 2, "create and patch events": 2, "Writing events again": 1} {
		if got := strings.Count(log, text); got != want {
			t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, log)
		}
	}
}
