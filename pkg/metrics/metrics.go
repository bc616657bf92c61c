// Package metrics counts what Fairlead does, for Prometheus. What kube-proxy counts too has kube-proxy's name, type, labels and
// buckets, so that what was made for one reads the other. The rest begins with fairlead_.
package metrics

import (
	"net/http"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead/fairlead/pkg/service"
)

// Metrics are those of one Fairlead. They are in a registry of their own, so that a program that embeds Fairlead can have its own too.
type Metrics struct {
	registry *prometheus.Registry
	proxy    proxyMetrics
	own      ownMetrics
	client   clientMetrics

	mu     sync.Mutex
	tables map[service.Family]*observer
}

// New returns Metrics that say this version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), tables: map[service.Family]*observer{}}
	m.proxy, m.own, m.client = newProxyMetrics(), newOwnMetrics(), newClientMetrics()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.proxy.all()...)
	m.registry.MustRegister(m.own.all()...)
	m.registry.MustRegister(m.client.all()...)
	m.registry.MustRegister(&tables{m})
	m.own.build.WithLabelValues(version, runtime.Version()).Set(1)
	return m
}

// Gatherer gives all metrics to programs that serve them by themselves.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
