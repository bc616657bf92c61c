// Package healthz serves health checks: /healthz for load balancers, /livez and /readyz for the kubelet. The status codes and bodies of
// /healthz and /livez are kube-proxy 1.36's (pkg/proxy/healthcheck); kube-proxy has no /readyz.
package healthz

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// toBeDeletedTaint is the taint of a Node that the Cluster Autoscaler is about to delete (KEP-3836).
const toBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"

// Options are the settings of a Health.
type Options struct {
	// Families are the IP families that are served.
	Families []service.Family
	// Healthy reports whether a family keeps up with the cluster; nil: always. It is called for every request.
	Healthy func(service.Family) bool
	// Healthz and Livez are called with the status code of every answer. They may be nil.
	Healthz, Livez func(status int)
}

// Health holds the state that the answers are made of. Its methods can be called from any goroutine.
type Health struct {
	options Options

	mu         sync.Mutex
	updated    map[service.Family]time.Time // last sync, or the start
	synced     map[service.Family]bool      // since the start
	ineligible bool
	waiting    string // what the process waits for before it starts to sync; empty: nothing
}

// New returns the Health of a process that has not synced yet.
func New(options Options) *Health {
	if options.Healthy == nil {
		options.Healthy = func(service.Family) bool { return true }
	}
	h := &Health{options: options, updated: map[service.Family]time.Time{}, synced: map[service.Family]bool{}}
	for _, f := range options.Families {
		h.updated[f] = time.Now() // kube-proxy also starts like this, in case that no sync succeeds
	}
	return h
}

// Updated reports that the kernel is up to date in one family.
func (h *Health) Updated(family service.Family) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.updated[family], h.synced[family] = time.Now(), true
}

// SetWaiting sets what the process waits for before it starts to sync, for people who read /readyz. Empty: nothing.
func (h *Health) SetWaiting(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = reason
}

// SetNode sets the Node object, or nil if there is none. Until it is called, the node is eligible: a load balancer must not lose all nodes
// when their proxies start while the API server is not available.
func (h *Health) SetNode(node *corev1.Node) {
	eligible := node != nil && node.DeletionTimestamp.IsZero()
	if eligible {
		for _, t := range node.Spec.Taints {
			eligible = eligible && t.Key != toBeDeletedTaint
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ineligible = !eligible
}

// answer is the body of all answers, which is kube-proxy's, except for Reason.
type answer struct {
	LastUpdated  time.Time               `json:"lastUpdated"`
	CurrentTime  time.Time               `json:"currentTime"`
	NodeEligible *bool                   `json:"nodeEligible,omitempty"`
	Healthy      bool                    `json:"healthy"`
	Status       map[string]familyAnswer `json:"status,omitempty"`
	Reason       string                  `json:"reason,omitempty"` // why the node is not ready, only in /readyz
}

type familyAnswer struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// state returns an answer without NodeEligible. ready is whether every family has been synced since the start.
func (h *Health) state() (a answer, ready, eligible bool) {
	healthy := map[service.Family]bool{}
	for _, f := range h.options.Families {
		healthy[f] = h.options.Healthy(f) // not below the lock: it may use locks of its own
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a = answer{CurrentTime: time.Now(), Healthy: true, Status: map[string]familyAnswer{}}
	ready = true
	for _, f := range h.options.Families {
		updated := h.updated[f]
		a.Healthy = a.Healthy && healthy[f]
		ready = ready && h.synced[f]
		a.Status[f.String()] = familyAnswer{updated, healthy[f]}
		if updated.After(a.LastUpdated) {
			a.LastUpdated = updated
		}
	}
	return a, ready, !h.ineligible
}

// ServeHealthz answers whether load balancers should send traffic to this node. Like kube-proxy's, it returns 200 from the start: the
// rules of the previous process are still in place.
func (h *Health) ServeHealthz(w http.ResponseWriter, _ *http.Request) {
	a, _, eligible := h.state()
	a.NodeEligible = &eligible
	a.respond(w, a.Healthy && eligible, h.options.Healthz)
}

// ServeLivez answers whether the process should keep running. It does not depend on the Node object.
func (h *Health) ServeLivez(w http.ResponseWriter, _ *http.Request) {
	a, _, _ := h.state()
	a.respond(w, a.Healthy, h.options.Livez)
}

// ServeReadyz answers whether every family has been synced since the start, and is healthy.
func (h *Health) ServeReadyz(w http.ResponseWriter, _ *http.Request) {
	a, ready, _ := h.state()
	if !ready {
		a.Reason = h.notReady()
	}
	a.Healthy = a.Healthy && ready
	a.respond(w, a.Healthy, nil)
}

func (h *Health) notReady() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting != "" {
		return h.waiting
	}
	return "not all rules have been written since the start"
}

func (a answer) respond(w http.ResponseWriter, ok bool, count func(int)) {
	status := http.StatusServiceUnavailable
	if ok {
		status = http.StatusOK
		a.LastUpdated = a.CurrentTime // as in kube-proxy, for compatibility with its old releases
	}
	if count != nil {
		count(status)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	body, err := json.Marshal(a)
	if err == nil {
		_, _ = w.Write(body) // fails if the client is gone
	}
}

// Register adds the three paths to a mux.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("/healthz", h.ServeHealthz)
	mux.HandleFunc("/livez", h.ServeLivez)
	mux.HandleFunc("/readyz", h.ServeReadyz)
}
