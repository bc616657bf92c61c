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

// The ports that kube-proxy has too.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// servers returns what listens for questions about this Fairlead's state.
func (m *monitor) servers() ([]*serve.Server, error) {
	h := m.current().HTTP
	var list []*serve.Server
	for _, s := range []struct {
		name, address, reason string
		usual                 uint16
		handler               http.Handler
	}{
		{"health checks", h.HealthzBindAddress, source.ReasonNoHealthz, healthzPort, m.healthHandler()},
		{"metrics", h.MetricsBindAddress, source.ReasonNoMetrics, metricsPort, m.metricsHandler()},
	} {
		address, err := serve.Address(s.address, s.usual)
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

// serve starts the servers, which run until ctx ends. fail is told of one that cannot run and must.
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
	_, _ = io.WriteString(w, s) // a client that is gone needs no answer
}

// serveConfig shows the settings as they hold now: kube-proxy's where kube-proxy shows them, and beside them Fairlead's own.
func (m *monitor) serveConfig(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(map[string]any{"kubeproxy.config.k8s.io": m.current().KubeProxy(), "fairlead.dev": m.current().Own()})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}
