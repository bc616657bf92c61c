package source

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
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
	// Resync is how often every object is handed over again, in case something was missed.
	Resync time.Duration
}

// Run implements Source.
func (s *APIServer) Run(ctx context.Context, handler Handler) error {
	services := s.factory(func(o *metav1.ListOptions) { o.LabelSelector, o.FieldSelector = serviceLabels, serviceFields })
	endpointSlices := s.factory(func(o *metav1.ListOptions) { o.LabelSelector = sliceLabels })
	nodes := s.factory(func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + s.NodeName })
	w := &watches{handler: handler, logger: klog.FromContext(ctx)}
	for _, err := range []error{
		w.follow("services", services.Core().V1().Services().Informer(), w.service),
		w.follow("endpointslices", endpointSlices.Discovery().V1().EndpointSlices().Informer(), w.slice),
		w.follow("nodes", nodes.Core().V1().Nodes().Informer(), w.node),
	} {
		if err != nil {
			return fmt.Errorf("watch the API server: %w", err)
		}
	}
	// They end with ctx, but may take long about it: a reflector sleeps between its attempts. Nobody waits for that.
	for _, f := range []informers.SharedInformerFactory{services, endpointSlices, nodes} {
		f.StartWithContext(ctx)
	}
	late := time.AfterFunc(listPatience, func() {
		w.logger.Info("Still waiting for the API server to list what there is; the rules stay as they are", "unlisted", w.unlisted())
	})
	defer late.Stop()
	if cache.WaitForCacheSync(ctx.Done(), w.synced...) {
		late.Stop()
		if !w.nodeSeen() {
			logNoNode(w.logger, s.NodeName)
		}
		w.locked(handler.Listed)
	}
	<-ctx.Done()
	return nil
}

func (s *APIServer) factory(tweak func(*metav1.ListOptions)) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(s.Client, s.Resync,
		informers.WithTransform(trim), informers.WithTweakListOptions(tweak))
}

// service hands one Service over; deleted says that it is gone.
func (w *watches) service(object any, deleted bool) {
	svc, ok := object.(*corev1.Service)
	switch {
	case !ok:
	case deleted:
		w.handler.DeleteService(svc.Namespace, svc.Name)
	default:
		w.handler.SetService(svc)
	}
}

func (w *watches) slice(object any, deleted bool) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	switch {
	case !ok:
	case deleted:
		w.handler.DeleteSlice(slice.Namespace, slice.Name)
	default:
		w.handler.SetSlice(slice)
	}
}

func (w *watches) node(object any, deleted bool) {
	if node, ok := object.(*corev1.Node); ok && !deleted {
		w.haveNode = true
		w.handler.SetNode(node)
	}
}
