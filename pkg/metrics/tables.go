package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/pkg/service"
)

// tables counts what the kernel holds, when it is asked: that costs a sync nothing.
type tables struct{ metrics *Metrics }

var (
	noLocalEndpoints = prometheus.NewDesc("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
		"Service ports with traffic policy Local that have endpoints, but none on this node.", []string{labelPolicy, labelFamily}, nil)
	modeInfo      = prometheus.NewDesc("fairlead_mode", "1 for the mode that forwards traffic.", []string{"mode"}, nil)
	serviceCount  = prometheus.NewDesc("fairlead_services", "Services that the kernel forwards.", []string{labelFamily}, nil)
	portCount     = prometheus.NewDesc("fairlead_service_ports", "Ports of Services that the kernel forwards.", []string{labelFamily}, nil)
	endpointCount = prometheus.NewDesc("fairlead_endpoints", "Endpoints of all service ports, after topology.", []string{labelFamily}, nil)
	behindSeconds = prometheus.NewDesc("fairlead_behind_seconds", "How long the oldest change waits that is not in the kernel yet; 0: none does.", []string{labelFamily}, nil)
)

// Describe implements prometheus.Collector.
func (t *tables) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{modeInfo, noLocalEndpoints, serviceCount, portCount, endpointCount, behindSeconds} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (t *tables) Collect(out chan<- prometheus.Metric) {
	if mode := *t.metrics.mode.Load(); mode != "" {
		out <- prometheus.MustNewConstMetric(modeInfo, prometheus.GaugeValue, 1, mode)
	}
	for _, o := range t.metrics.observers() {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append(labels, o.family)...)
		}
		n := count(o.table.Load())
		gauge(noLocalEndpoints, float64(n.noLocalInternal), "internal")
		gauge(noLocalEndpoints, float64(n.noLocalExternal), "external")
		gauge(serviceCount, float64(n.services))
		gauge(portCount, float64(n.ports))
		gauge(endpointCount, float64(n.endpoints))
		var behind float64
		if since := o.behind.Load(); since != 0 {
			behind = time.Since(time.Unix(0, since)).Seconds()
		}
		gauge(behindSeconds, behind)
	}
}

type tally struct {
	services, ports, endpoints       int
	noLocalInternal, noLocalExternal int
}

// count goes through a Table, which may be nil.
func count(t *service.Table) tally {
	var n tally
	if t == nil {
		return n
	}
	var last types.NamespacedName
	for i, p := range t.Ports { // sorted: those of a Service are side by side
		if owner := p.Name.Service(); i == 0 || owner != last {
			n.services++
			last = owner
		}
		n.ports++
		n.endpoints += len(p.Endpoints)
		internal, external := withoutLocal(p)
		if internal {
			n.noLocalInternal++
		}
		if external {
			n.noLocalExternal++
		}
	}
	return n
}

// withoutLocal reports whether a port that sends to endpoints of this node alone has none there, though there are others.
func withoutLocal(p *service.Port) (internal, external bool) {
	if len(p.Local) > 0 || len(p.Endpoints) == 0 {
		return false, false
	}
	for _, f := range p.Frontends {
		switch f.Scope {
		case service.Node:
			internal = true
		case service.NodeForOutsiders:
			external = true
		}
	}
	return internal, external
}
