package metrics

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/service"
)

// subsystem begins the names that kube-proxy gives to its metrics.
const subsystem = "kubeproxy"

// The labels that tell one series from another.
const (
	labelFamily = "ip_family"
	labelTable  = "table"
	labelPolicy = "traffic_policy"
	labelCode   = "code"
)

// proxyMetrics are those that kube-proxy has too.
type proxyMetrics struct {
	sync, full, partial           *prometheus.HistogramVec
	last, lastQueued              *prometheus.GaugeVec
	programming                   *prometheus.HistogramVec
	endpointsPending              prometheus.Gauge
	endpointsTotal                prometheus.Counter
	servicesPending               prometheus.Gauge
	servicesTotal                 prometheus.Counter
	restoreFailures, partFailures *prometheus.CounterVec
	rules, rulesLast              *prometheus.GaugeVec
	healthz, livez                *prometheus.CounterVec
	flows                         *prometheus.HistogramVec
	flowsDeleted                  *prometheus.CounterVec
}

func newProxyMetrics() proxyMetrics {
	// From a millisecond to 16 seconds.
	took := prometheus.ExponentialBuckets(0.001, 2, 15)
	return proxyMetrics{
		sync:             histogram("sync_proxy_rules_duration_seconds", "How long writing rules took.", took),
		full:             histogram("sync_full_proxy_rules_duration_seconds", "How long writing rules took, where all were compared with the kernel.", took),
		partial:          histogram("sync_partial_proxy_rules_duration_seconds", "How long writing rules took, where only what had changed was looked at.", took),
		last:             gauges("sync_proxy_rules_last_timestamp_seconds", "When the rules were last known to be as they should be.", labelFamily),
		lastQueued:       gauges("sync_proxy_rules_last_queued_timestamp_seconds", "When writing rules was last asked for.", labelFamily),
		programming:      histogram("network_programming_duration_seconds", "From a change of a Pod or Service until the rules for it were in the kernel.", programmingBuckets()),
		endpointsPending: prometheus.NewGauge(prometheus.GaugeOpts(opts("sync_proxy_rules_endpoint_changes_pending", "Changes of EndpointSlices that are not in the kernel yet."))),
		endpointsTotal:   prometheus.NewCounter(prometheus.CounterOpts(opts("sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices."))),
		servicesPending:  prometheus.NewGauge(prometheus.GaugeOpts(opts("sync_proxy_rules_service_changes_pending", "Changes of Services that are not in the kernel yet."))),
		servicesTotal:    prometheus.NewCounter(prometheus.CounterOpts(opts("sync_proxy_rules_service_changes_total", "Changes of Services."))),
		restoreFailures:  counters("sync_proxy_rules_iptables_restore_failures_total", "How often iptables-restore failed.", labelFamily),
		partFailures:     counters("sync_proxy_rules_iptables_partial_restore_failures_total", "How often iptables-restore failed, where only what had changed was written.", labelFamily),
		rules:            gauges("sync_proxy_rules_iptables_total", "How many iptables rules there are of the proxy's.", labelTable, labelFamily),
		rulesLast:        gauges("sync_proxy_rules_iptables_last", "How many iptables rules the last sync wrote.", labelTable, labelFamily),
		healthz:          counters("proxy_healthz_total", "Answers on /healthz.", labelCode),
		livez:            counters("proxy_livez_total", "Answers on /livez.", labelCode),
		flows:            histogram("conntrack_reconciler_sync_duration_seconds", "How long it took to look for stale flows.", took),
		flowsDeleted:     counters("conntrack_reconciler_deleted_entries_total", "Stale flows that were deleted.", labelFamily),
	}
}

// registerProxyMetrics registers what kube-proxy does, for each mode as kube-proxy does in RegisterMetrics.
func (m *Metrics) registerProxyMetrics() {
	p := &m.proxy
	m.registry.MustRegister(p.sync, p.last, p.lastQueued, p.programming, p.endpointsPending, p.endpointsTotal, p.servicesPending, p.servicesTotal,
		p.healthz, p.livez)
	m.registerIn([]string{modeIPTables}, p.full, p.partial, p.partFailures, p.rules, p.rulesLast)
	m.registerIn([]string{modeIPTables, modeIPVS}, p.restoreFailures, p.flows, p.flowsDeleted)
}

// programmingBuckets are fine at first and end at five minutes. The first one ends at zero, as in kube-proxy, whose buckets begin with what
// component-base's MergeBuckets puts in front.
func programmingBuckets() []float64 {
	return slices.Concat(
		[]float64{0, 0.25, 0.5},
		prometheus.LinearBuckets(1, 1, 59),
		prometheus.LinearBuckets(60, 5, 12),
		prometheus.LinearBuckets(120, 30, 7),
	)
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Name: subsystem + "_" + name, Help: help}
}

func histogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: subsystem + "_" + name, Help: help, Buckets: buckets}, []string{labelFamily})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
}

// Healthz counts an answer on /healthz.
func (m *Metrics) Healthz(status int) { m.proxy.healthz.WithLabelValues(strconv.Itoa(status)).Inc() }

// Livez counts an answer on /livez.
func (m *Metrics) Livez(status int) { m.proxy.livez.WithLabelValues(strconv.Itoa(status)).Inc() }

// Flows returns what counts stale flows of a family.
func (m *Metrics) Flows(family service.Family) func(conntrack.Sweep) {
	f := family.String()
	took, total := m.proxy.flows.WithLabelValues(f), m.proxy.flowsDeleted.WithLabelValues(f)
	ownTook := m.own.sweeps.WithLabelValues(f)
	for _, protocol := range []service.Protocol{service.TCP, service.UDP, service.SCTP} {
		for _, reason := range conntrack.Reasons {
			m.own.flowsDeleted.WithLabelValues(protocol.String(), string(reason), f)
		}
	}
	return func(s conntrack.Sweep) {
		took.Observe(s.Took.Seconds())
		ownTook.Observe(s.Took.Seconds())
		for d, n := range s.Deleted {
			total.Add(float64(n))
			m.own.flowsDeleted.WithLabelValues(d.Protocol.String(), string(d.Reason), f).Add(float64(n))
		}
	}
}
