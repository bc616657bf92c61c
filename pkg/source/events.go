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

// The reasons of events on the own Node.
const (
	ReasonStarting     = "Starting"
	ReasonModeSwitched = "ModeSwitched"
	ReasonTakenOver    = "TakenOver"
	ReasonSwitchFailed = "SwitchFailed"
	ReasonDrift        = "DriftRepaired"
	ReasonSyncFailed   = "SyncFailed"
	// The next two are kube-proxy's too.
	ReasonNoHealthz = "FailedToStartProxierHealthcheck"
	ReasonNoMetrics = "FailedToStartMetricServer"
)

// normal has the reasons of events that are as they should be. All others warn.
var normal = map[string]bool{ReasonStarting: true, ReasonModeSwitched: true, ReasonTakenOver: true}

// Events tells whoever looks after the cluster what they must know, where they look for it: beside the objects. Its methods may be
// called from any goroutine, and wait for nothing.
type Events interface {
	// Node tells something of the own Node.
	Node(reason, message string)
	// Service tells something of a Service.
	Service(name types.NamespacedName, reason, message string)
}

func eventType(reason string) string {
	if normal[reason] {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// Events implements Source. They go to the API server when it takes them, and are lost when it does not for long.
func (s *APIServer) Events(ctx context.Context) Events {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	events := &typedcorev1.EventSinkImpl{Interface: s.Client.CoreV1().Events("")}
	broadcaster.StartRecordingToSink(&sink{EventSink: events, logger: klog.FromContext(ctx)})
	return &recorded{s.NodeName, broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "fairlead", Host: s.NodeName})}
}

// recorded are Events that become objects.
type recorded struct {
	node     string
	recorder record.EventRecorder
}

// Node implements Events. By kubelet's custom, events of a Node bear its name as UID, and 'kubectl describe node' finds them by that.
func (r *recorded) Node(reason, message string) {
	object := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.node, UID: types.UID(r.node)}
	r.recorder.Event(object, eventType(reason), reason, message)
}

// Service implements Events.
func (r *recorded) Service(name types.NamespacedName, reason, message string) {
	object := &corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	r.recorder.Event(object, eventType(reason), reason, message)
}

// Events implements Source. They are logged, there being nobody else to tell.
func (m *Manifests) Events(ctx context.Context) Events { return logged{klog.FromContext(ctx)} }

// logged are Events without an API server.
type logged struct{ logger klog.Logger }

// Node implements Events.
func (l logged) Node(reason, message string) {
	l.logger.Info("Event", "reason", reason, "message", message)
}

// Service implements Events.
func (l logged) Service(name types.NamespacedName, reason, message string) {
	l.logger.Info("Event", "service", name, "reason", reason, "message", message)
}
