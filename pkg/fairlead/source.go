package fairlead

import (
	"fmt"
	"net/http"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/source"
)

func newSource(logger klog.Logger, c *config.Config, nodeName string, m *monitor) (source.Source, error) {
	if c.Manifests != "" {
		return &source.Manifests{Dir: c.Manifests, NodeName: nodeName}, nil
	}
	r, err := newREST(c)
	if err != nil {
		return nil, err
	}
	r.Wrap(func(next http.RoundTripper) http.RoundTripper { return source.Reach(logger, next) })
	client, err := kubernetes.NewForConfig(r)
	if err != nil {
		return nil, fmt.Errorf("create a client for the API server at %s: %w", r.Host, err)
	}
	return &source.APIServer{Client: client, NodeName: nodeName, OwnNode: m.health.SetNode, Renew: renewal(c, r)}, nil
}

// renewal says how credentials are renewed that the API server refuses. Those in files of their own are read again by client-go, and a
// program (exec) is run again; those in the kubeconfig itself were read at the start.
func renewal(c *config.Config, r *rest.Config) string {
	switch {
	case c.Kubeconfig == "":
		return "renew the ServiceAccount's token; Fairlead reads it again by itself"
	case len(r.CertData) > 0 && r.CertFile == "", r.BearerToken != "" && r.BearerTokenFile == "", r.Username != "":
		return "renew them in " + c.Kubeconfig + ", and restart Fairlead, which has read them at its start; credentials in files of their own (client-certificate, tokenFile) need no restart"
	case r.ExecProvider != nil:
		return "see why the program that " + c.Kubeconfig + " gets them from returns invalid ones; Fairlead runs it again by itself"
	case r.CertFile != "", r.BearerTokenFile != "":
		return "renew them in the files that " + c.Kubeconfig + " names; Fairlead reads these again by itself"
	}
	return "there are none in " + c.Kubeconfig + "; add a user to it, and restart Fairlead"
}

// newREST returns the configuration of the connection to the API server.
func newREST(c *config.Config) (*rest.Config, error) {
	r, err := reach(c)
	if err != nil {
		return nil, err
	}
	r.UserAgent = "fairlead/" + Version()
	r.ContentType, r.AcceptContentTypes = c.Client.ContentType, c.Client.AcceptContentTypes
	if r.AcceptContentTypes == "" {
		r.AcceptContentTypes = r.ContentType
		if r.ContentType != runtime.ContentTypeJSON {
			r.AcceptContentTypes += "," + runtime.ContentTypeJSON
		}
	}
	r.QPS, r.Burst = c.Client.QPS, c.Client.Burst
	return r, nil
}

// reach returns the address and credentials of the API server from the settings, or else from the pod's service account.
func reach(c *config.Config) (*rest.Config, error) {
	if c.Kubeconfig == "" && c.Master == "" {
		r, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("connect to the API server as a pod: %w; set --kubeconfig (clientConnection.kubeconfig in a file), or --manifests to run without an API server", err)
		}
		return r, nil
	}
	if c.Kubeconfig != "" {
		if _, err := os.Stat(c.Kubeconfig); err != nil {
			return nil, fmt.Errorf("%s: read the kubeconfig: %w; correct the path, or create it with the address and credentials of the API server", c.Named("kubeconfig"), err)
		}
	}
	r, err := clientcmd.BuildConfigFromFlags(c.Master, c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("%s: invalid kubeconfig %q: %w", c.Named("kubeconfig"), c.Kubeconfig, err)
	}
	return r, nil
}
