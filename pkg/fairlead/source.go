package fairlead

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/source"
)

func newSource(logger klog.Logger, c *config.Config, nodeName string) (source.Source, error) {
	if c.Manifests != "" {
		return &source.Manifests{Dir: c.Manifests, NodeName: nodeName}, nil
	}
	rest, err := clientcmd.BuildConfigFromFlags(c.Master, c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the API server; give --kubeconfig, or --manifests to go without one: %w", err)
	}
	rest.Wrap(func(next http.RoundTripper) http.RoundTripper { return source.Reach(logger, next) })
	rest.UserAgent = "fairlead/" + Version()
	rest.ContentType = runtime.ContentTypeProtobuf
	rest.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("use the API server at %s: %w", rest.Host, err)
	}
	return &source.APIServer{Client: client, NodeName: nodeName, Resync: c.ConfigSyncPeriod}, nil
}
