package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// The modes that kube-proxy has metrics of their own for.
const (
	modeIPTables = "iptables"
	modeIPVS     = "ipvs"
)

// modal are metrics that only some modes have. kube-proxy registers them at its start; here the mode can change.
type modal struct {
	prometheus.Collector
	metrics *Metrics
	modes   []string
}

// Collect implements prometheus.Collector.
func (m *modal) Collect(out chan<- prometheus.Metric) {
	if slices.Contains(m.modes, *m.metrics.mode.Load()) {
		m.Collector.Collect(out)
	}
}

// registerIn registers metrics of some modes.
func (m *Metrics) registerIn(modes []string, list ...prometheus.Collector) {
	for _, c := range list {
		m.registry.MustRegister(&modal{c, m, modes})
	}
}
