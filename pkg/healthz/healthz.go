// Package healthz answers whether Fairlead does its work: /healthz to load balancers, /livez and /readyz to kubelet. What kube-proxy
// answers too is what kube-proxy answers.
package healthz

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// beingDeleted is the taint of a Node that the Cluster Autoscaler is about to delete (KEP-3836).
const beingDeleted = "ToBeDeletedByClusterAutoscaler"

// Options are the settings of a Health.
type Options struct {
	// Families that have to be written before Fairlead is ready.
	Families []service.Family
	// Healthy says whether a family keeps up with the cluster; nil: always. It is called for each question.
	Healthy func(service.Family) bool
	// Healthz and Livez are told the status of each answer; nil: nobody is.
	Healthz, Livez func(status int)
}

// Health is the state that is asked for. Its methods may be called from any goroutine.
type Health struct {
	options Options

	mu         sync.Mutex
	updated    map[service.Family]time.Time
	ineligible bool
}

// New returns the Health of a Fairlead that has done nothing yet.
func New(options Options) *Health {
	if options.Healthy == nil {
		options.Healthy = func(service.Family) bool { return true }
	}
	return &Health{options: options, updated: map[service.Family]time.Time{}}
}

// Updated says that the kernel holds what it should, in one family.
func (h *Health) Updated(family service.Family) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.updated[family] = time.Now()
}

// SetNode takes in the own Node, or nil where there is none. Until it has been called, nothing speaks against the node: a load balancer
// must not lose all nodes because their proxies start while the API server is away.
func (h *Health) SetNode(node *corev1.Node) {
	eligible := node != nil && node.DeletionTimestamp.IsZero()
	if eligible {
		for _, t := range node.Spec.Taints {
			eligible = eligible && t.Key != beingDeleted
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ineligible = !eligible
}

// answer is the body of all answers, as kube-proxy has it.
type answer struct {
	LastUpdated  time.Time               `json:"lastUpdated"`
	CurrentTime  time.Time               `json:"currentTime"`
	NodeEligible *bool                   `json:"nodeEligible,omitempty"`
	Healthy      bool                    `json:"healthy"`
	Status       map[string]familyAnswer `json:"status,omitempty"`
}

type familyAnswer struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// state is how things are now, and whether every family has been written once.
func (h *Health) state() (a answer, ready, eligible bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a = answer{CurrentTime: time.Now(), Healthy: true, Status: map[string]familyAnswer{}}
	ready = true
	for _, f := range h.options.Families {
		healthy := h.options.Healthy(f)
		at, written := h.updated[f]
		a.Healthy = a.Healthy && healthy
		ready = ready && written
		if written || !healthy {
			a.Status[f.String()] = familyAnswer{at, healthy}
		}
		if at.After(a.LastUpdated) {
			a.LastUpdated = at
		}
	}
	return a, ready, !h.ineligible
}

// ServeHealthz tells load balancers whether to send traffic to this node. Like kube-proxy's, it does so from the start: what an
// earlier process has written serves on.
func (h *Health) ServeHealthz(w http.ResponseWriter, _ *http.Request) {
	a, _, eligible := h.state()
	a.NodeEligible = &eligible
	a.respond(w, a.Healthy && eligible, h.options.Healthz)
}

// ServeLivez tells whether Fairlead should be let run. A Node that goes is no reason against it.
func (h *Health) ServeLivez(w http.ResponseWriter, _ *http.Request) {
	a, _, _ := h.state()
	a.respond(w, a.Healthy, h.options.Livez)
}

// ServeReadyz tells whether all rules have been written once since the start, and changes are keeping up.
func (h *Health) ServeReadyz(w http.ResponseWriter, _ *http.Request) {
	a, ready, _ := h.state()
	a.Healthy = a.Healthy && ready
	a.respond(w, a.Healthy, nil)
}

func (a answer) respond(w http.ResponseWriter, well bool, count func(int)) {
	status := http.StatusServiceUnavailable
	if well {
		status = http.StatusOK
		a.LastUpdated = a.CurrentTime // kube-proxy keeps a custom of old: whoever is well is up to date
	}
	if count != nil {
		count(status)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	body, err := json.Marshal(a)
	if err == nil {
		_, _ = w.Write(body) // a client that is gone needs no answer
	}
}

// Register adds the three answers to a mux.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("/healthz", h.ServeHealthz)
	mux.HandleFunc("/livez", h.ServeLivez)
	mux.HandleFunc("/readyz", h.ServeReadyz)
}
