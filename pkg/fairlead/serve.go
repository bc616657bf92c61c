package fairlead

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"sync"

	"github.com/fairlead/fairlead/pkg/serve"
	"github.com/fairlead/fairlead/pkg/source"
)

// The default ports, which are kube-proxy's.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// servers returns the HTTP servers of health checks and metrics, those that are configured.
func (m *monitor) servers() ([]*serve.Server, error) {
	h := m.current().HTTP
	var list []*serve.Server
	for _, s := range []struct {
		name, address, reason string
		port                  uint16
		handler               http.Handler
	}{
		{"health checks", h.HealthzBindAddress, source.ReasonNoHealthz, healthzPort, m.healthHandler()},
		{"metrics", h.MetricsBindAddress, source.ReasonNoMetrics, metricsPort, m.metricsHandler()},
	} {
		address, err := serve.Address(s.address, s.port)
		if err != nil {
			return nil, err
		}
		if address == "" {
			continue
		}
		list = append(list, &serve.Server{
			Name: s.name, Address: address, Handler: s.handler, HardFail: h.BindAddressHardFail,
			Failed: func(err error) { m.events.Node(s.reason, err.Error()) },
		})
	}
	return list, nil
}

// serve starts the servers, which run until ctx ends. It calls fail if one of them fails for good, see HTTP.BindAddressHardFail.
func (m *monitor) serve(ctx context.Context, running *sync.WaitGroup, fail func(error)) error {
	servers, err := m.servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				fail(err)
			}
		})
	}
	return nil
}

func (m *monitor) healthHandler() http.Handler {
	mux := http.NewServeMux()
	m.health.Register(mux)
	return mux
}

func (m *monitor) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", m.metrics.Handler())
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, "ok") })
	mux.HandleFunc("/proxyMode", func(w http.ResponseWriter, _ *http.Request) { text(w, string(m.mode())) })
	mux.HandleFunc("/configz", m.serveConfig)
	if m.flags != nil {
		mux.HandleFunc("/flagz", serveFlagz(m.flags))
	}
	if m.current().HTTP.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, s) // fails if the client is gone
}

// serveConfig returns the settings that apply now: kube-proxy's under the same key as in kube-proxy's answer, and Fairlead's own.
func (m *monitor) serveConfig(w http.ResponseWriter, _ *http.Request) {
	c := m.current()
	writeJSON(w, map[string]any{"kubeproxy.config.k8s.io": c.KubeProxy(), "fairlead.dev": c.Own()})
}

func writeJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}
