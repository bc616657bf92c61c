package fairlead

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/serve"
	"github.com/fairlead/fairlead/pkg/source"
)

// servers returns the HTTP servers of health checks and metrics, those that are configured.
func (m *monitor) servers(c *config.Settings) []*serve.Server {
	var list []*serve.Server
	for _, s := range []struct {
		name, reason string
		address      netip.AddrPort
		handler      http.Handler
	}{
		{"health checks", source.ReasonNoHealthz, c.Healthz, m.healthHandler()},
		{"metrics", source.ReasonNoMetrics, c.Metrics, m.metricsHandler()},
	} {
		if !s.address.IsValid() {
			continue
		}
		list = append(list, &serve.Server{
			Name: s.name, Address: s.address, Handler: s.handler, HardFail: c.HTTP.BindAddressHardFail,
			Failed: func(err error) { m.events.Node(s.reason, err.Error()) },
		})
	}
	return list
}

// serve starts the servers, which run until ctx ends. It calls fail if one of them fails for good, see HTTP.BindAddressHardFail.
func (m *monitor) serve(ctx context.Context, c *config.Settings, running *sync.WaitGroup, fail func(error)) {
	for _, s := range m.servers(c) {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				fail(err)
			}
		})
	}
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
