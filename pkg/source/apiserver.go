package source

import (
	"cmp"
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// What is asked of the API server: the same as kube-proxy asks. Headless Services have nothing to forward, and a Service with
// the proxy-name label is another proxy's.
const (
	serviceLabels = "!" + service.LabelProxyName
	serviceFields = "spec.clusterIP!=" + corev1.ClusterIPNone
	sliceLabels   = "!" + corev1.IsHeadlessService
)

// listPatience is how long the API server may take to list everything before that is worth a word.
const listPatience = 10 * time.Second

// APIServer hands over what an API server has.
type APIServer struct {
	Client   kubernetes.Interface
	NodeName string
	// OwnNode is told of the own Node when it comes and changes, and nil when it is not there or goes; nil: nobody is. It is called
	// from one goroutine at a time, and must not keep or change the object.
	OwnNode func(*corev1.Node)
	// Renew is what to do if the API server refuses the credentials, for the log. Empty: a general text.
	Renew string
}

// Run implements Source.
func (s *APIServer) Run(ctx context.Context, handler Handler) error {
	w := &watches{handler: handler, logger: klog.FromContext(ctx), ownNode: s.OwnNode, renew: cmp.Or(s.Renew, "renew them in the kubeconfig, or the ServiceAccount's token")}
	core, slices := s.Client.CoreV1(), s.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	w.follow(ctx, "services", &corev1.Service{}, w.service, handler.DeleteService,
		listWatch(s.Client, core.Services(metav1.NamespaceAll), func(o *metav1.ListOptions) {
			o.LabelSelector, o.FieldSelector = serviceLabels, serviceFields
		}))
	w.follow(ctx, "endpointslices", &discoveryv1.EndpointSlice{}, w.slice, handler.DeleteSlice,
		listWatch(s.Client, slices, func(o *metav1.ListOptions) { o.LabelSelector = sliceLabels }))
	w.follow(ctx, "nodes", &corev1.Node{}, w.node, func(string, string) { w.tellNode(nil) },
		listWatch(s.Client, core.Nodes(), func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + s.NodeName }))
	late := time.AfterFunc(listPatience, func() {
		w.logger.Info("Still waiting for the API server to list what there is; the rules stay as they are", "unlisted", w.unlisted())
	})
	defer late.Stop()
	if cache.WaitFor(ctx, "", w.synced...) {
		late.Stop()
		if !w.nodeSeen() {
			logNoNode(w.logger, s.NodeName)
			w.locked(func() { w.tellNode(nil) })
		}
		w.locked(handler.Listed)
	}
	<-ctx.Done()
	return nil
}

// lister is what the clients of all resources have in common.
type lister[List runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (List, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// listWatch lists and watches the objects of one resource that options choose.
func listWatch[List runtime.Object](client kubernetes.Interface, l lister[List], choose func(*metav1.ListOptions)) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			choose(&options)
			return l.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			choose(&options)
			return l.Watch(ctx, options)
		},
	}, client)
}

func (w *watches) service(object any) {
	if svc, ok := object.(*corev1.Service); ok {
		w.handler.SetService(svc)
	}
}

func (w *watches) slice(object any) {
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		w.handler.SetSlice(slice)
	}
}

func (w *watches) node(object any) {
	if node, ok := object.(*corev1.Node); ok {
		w.haveNode = true
		w.tellNode(node)
		w.handler.SetNode(node)
	}
}

func (w *watches) tellNode(node *corev1.Node) {
	if w.ownNode != nil {
		w.ownNode(node)
	}
}
