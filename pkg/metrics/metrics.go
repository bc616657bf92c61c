// Package metrics counts what Fairlead does, for Prometheus. What kube-proxy counts too has kube-proxy's name, type, labels and
// buckets, so that what was made for one reads the other. The rest begins with fairlead_.
package metrics

import (
	"errors"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead/fairlead/pkg/service"
)

// Metrics are those of one Fairlead. They are in a registry of their own, so that a program that embeds Fairlead can have its own too.
type Metrics struct {
	registry *prometheus.Registry
	proxy    proxyMetrics
	own      ownMetrics
	mode     atomic.Pointer[string] // that forwards

	mu     sync.Mutex
	tables map[service.Family]*observer
}

// New returns Metrics that say this version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), tables: map[service.Family]*observer{}}
	m.proxy, m.own = newProxyMetrics(), newOwnMetrics()
	m.SetMode("")
	m.registerProxyMetrics()
	m.registry.MustRegister(m.own.all()...)
	m.registry.MustRegister(&tables{m})
	m.own.build.WithLabelValues(version, runtime.Version()).Set(1)
	return m
}

// Gatherer gives all metrics to programs that serve them by themselves.
func (m *Metrics) Gatherer() prometheus.Gatherer {
	return gatherers{m.registry, &traffic{m}, process{}}
}

// gatherers puts together what several Gatherers give, of which no two have the same metric.
type gatherers []prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (g gatherers) Gather() ([]*dto.MetricFamily, error) {
	var all []*dto.MetricFamily
	var errs []error
	for _, one := range g {
		list, err := one.Gather()
		all, errs = append(all, list...), append(errs, err)
	}
	slices.SortFunc(all, func(x, y *dto.MetricFamily) int { return strings.Compare(x.GetName(), y.GetName()) })
	return all, errors.Join(errs...)
}

// observers are those of the families that there are.
func (m *Metrics) observers() []*observer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.tables), func(x, y *observer) int { return strings.Compare(x.family, y.family) })
}

// Handler serves all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Gatherer(), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
