package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// ownMetrics are those that kube-proxy does not have.
type ownMetrics struct {
	build    *prometheus.GaugeVec
	synced   *prometheus.GaugeVec
	failures *prometheus.CounterVec
	repaired *prometheus.CounterVec
	switches *prometheus.CounterVec
	events   *prometheus.CounterVec
	phases   *prometheus.HistogramVec
	dirty    *prometheus.HistogramVec

	flowsDeleted *prometheus.CounterVec
	sweeps       *prometheus.HistogramVec
}

func newOwnMetrics() ownMetrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fairlead_" + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_" + name, Help: help}, labels)
	}
	return ownMetrics{
		build:    gauge("build_info", "1, with what Fairlead was built from.", "version", "go_version"),
		synced:   gauge("synced", "1 when all rules have been written once since the start.", labelFamily),
		failures: counter("failures_total", "What could not be done, and was tried again, by what it was.", "task", labelFamily),
		repaired: counter("drift_repaired_total", "Parts of the kernel that another program had changed and that were put right, by what they were.", "kind", labelFamily),
		switches: counter("mode_switches_total", "Changes of the mode, by the new mode and what became of it.", "to", "result"),
		events:   counter("events_total", "Kubernetes events, by reason.", "reason"),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlead_phase_duration_seconds", Help: "How long the parts of the work took.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}, []string{"phase", labelFamily}),
		dirty: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlead_sync_dirty_ports", Help: "Service ports that a sync had to look at, where it did not look at all of them.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}, []string{labelFamily}),
		flowsDeleted: counter("conntrack_deleted_flows_total", "Stale conntrack entries that were deleted, by protocol and reason.", "protocol", "reason", labelFamily),
		sweeps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlead_conntrack_sweep_duration_seconds", Help: "How long it took to read the conntrack table and to delete stale entries.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{labelFamily}),
	}
}

func (o *ownMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{o.build, o.synced, o.failures, o.repaired, o.switches, o.events, o.phases, o.dirty, o.flowsDeleted, o.sweeps}
}

// Event counts an event.
func (m *Metrics) Event(reason string) { m.own.events.WithLabelValues(reason).Inc() }

// SetMode says which mode forwards traffic from now on.
func (m *Metrics) SetMode(mode string) {
	m.mode.Store(&mode)
}

// AddMode makes the counts of changes to a mode begin at 0: where a series begins with its first failure, nobody sees it rise.
func (m *Metrics) AddMode(mode string) {
	m.own.switches.WithLabelValues(mode, switchDone)
	m.own.switches.WithLabelValues(mode, switchFailed)
}

// What became of a change of the mode.
const (
	switchDone   = "done"
	switchFailed = "failed"
)

// SwitchRefused counts a change to a mode that the node does not support.
func (m *Metrics) SwitchRefused(to string) { m.own.switches.WithLabelValues(to, switchFailed).Inc() }

// Switched counts a change to another mode. With an error, the old mode goes on.
func (m *Metrics) Switched(to string, err error) {
	result := switchDone
	if err != nil {
		result = switchFailed
	} else {
		m.SetMode(to)
	}
	m.own.switches.WithLabelValues(to, result).Inc()
}
