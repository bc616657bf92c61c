package health

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"
)

// answer is what a load balancer is told about one Service, on any path and for any method.
type answer struct {
	service types.NamespacedName
	local   atomic.Int64 // endpoints on this node
	healthy func() bool  // whether the proxy keeps up
}

// body has the fields in kube-proxy's order.
type body struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int64 `json:"localEndpoints"`
	ServiceProxyHealthy bool  `json:"serviceProxyHealthy"`
}

// ServeHTTP answers 200 where the node can take traffic for the Service, otherwise 503. A proxy that does not keep up turns
// traffic away as well: its rules may not lead to the endpoints yet (kubernetes/kubernetes#115825).
func (a *answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	said := body{LocalEndpoints: a.local.Load(), ServiceProxyHealthy: a.healthy()}
	said.Service.Namespace, said.Service.Name = a.service.Namespace, a.service.Name
	// Tabs, and no end of line after the last brace: as kube-proxy writes it.
	text, err := json.MarshalIndent(said, "", "\t")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// For load balancers that weigh nodes by their endpoints (kubernetes/kubernetes#118999).
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.FormatInt(said.LocalEndpoints, 10))
	if said.LocalEndpoints > 0 && said.ServiceProxyHealthy {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(text) // a client that has gone away is no error of ours
}
