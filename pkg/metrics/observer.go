package metrics

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// observer counts what becomes of one family.
type observer struct {
	metrics *Metrics
	family  string

	sync, full, partial, programming prometheus.Observer
	dirty                            prometheus.Observer
	phases                           map[proxier.Phase]prometheus.Observer
	table                            atomic.Pointer[service.Table] // as the kernel holds it
	traffic                          atomic.Pointer[counted]       // nil: nothing is counted
	behind                           atomic.Int64                  // since when a sync waits, in nanoseconds; 0: none does
}

// Observer returns what counts the syncs of one family. At each call it begins anew.
func (m *Metrics) Observer(family service.Family) proxier.Observer {
	f := family.String()
	o := &observer{
		metrics: m, family: f,
		sync: m.proxy.sync.WithLabelValues(f), full: m.proxy.full.WithLabelValues(f), partial: m.proxy.partial.WithLabelValues(f),
		programming: m.proxy.programming.WithLabelValues(f),
		dirty:       m.own.dirty.WithLabelValues(f), phases: map[proxier.Phase]prometheus.Observer{},
	}
	for _, phase := range proxier.Phases {
		o.phases[phase] = m.own.phases.WithLabelValues(string(phase), f)
	}
	// What is counted is there from the start: where a series begins with its first failure, nobody sees it rise.
	for _, task := range proxier.Tasks {
		m.own.failures.WithLabelValues(string(task), f)
	}
	for _, k := range driftKinds {
		m.own.repaired.WithLabelValues(k.kind, f)
	}
	m.own.synced.WithLabelValues(f).Set(0)
	m.proxy.restoreFailures.WithLabelValues(f)
	m.proxy.partFailures.WithLabelValues(f)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tables[family] = o
	return o
}

// ServiceChanged implements proxier.Observer.
func (o *observer) ServiceChanged() {
	o.metrics.proxy.servicesTotal.Inc()
	o.metrics.proxy.servicesPending.Inc()
}

// EndpointsChanged implements proxier.Observer.
func (o *observer) EndpointsChanged() {
	o.metrics.proxy.endpointsTotal.Inc()
	o.metrics.proxy.endpointsPending.Inc()
}

// Queued implements proxier.Observer.
func (o *observer) Queued() {
	o.behind.CompareAndSwap(0, time.Now().UnixNano())
	o.metrics.proxy.lastQueued.WithLabelValues(o.family).SetToCurrentTime()
}

// Synced implements proxier.Observer.
func (o *observer) Synced(s proxier.Sync) {
	p := &o.metrics.proxy
	o.behind.Store(0)
	o.table.Store(s.Table)
	p.last.WithLabelValues(o.family).SetToCurrentTime()
	p.servicesPending.Sub(float64(s.Services))
	p.endpointsPending.Sub(float64(s.Endpoints))
	if !s.Written {
		return
	}
	o.wrote(s.Full, s.Took)
	if !s.Full {
		o.dirty.Observe(float64(s.Dirty))
	}
	o.metrics.own.synced.WithLabelValues(o.family).Set(1)
	for _, d := range s.Delays {
		o.programming.Observe(d.Seconds())
	}
	if s.Rules == nil { // another mode's may be there
		p.rules.DeletePartialMatch(prometheus.Labels{labelFamily: o.family})
		p.rulesLast.DeletePartialMatch(prometheus.Labels{labelFamily: o.family})
	}
	for table, n := range s.Rules {
		p.rules.WithLabelValues(table, o.family).Set(float64(n))
		p.rulesLast.WithLabelValues(table, o.family).Set(float64(s.RulesWritten[table]))
	}
}

func (o *observer) wrote(full bool, d time.Duration) {
	o.sync.Observe(d.Seconds())
	if full {
		o.full.Observe(d.Seconds())
	} else {
		o.partial.Observe(d.Seconds())
	}
}

// Failed implements proxier.Observer.
func (o *observer) Failed(f proxier.Failure) {
	if f.Needless { // no alert for what nobody needs
		o.behind.Store(0)
		o.metrics.proxy.last.WithLabelValues(o.family).SetToCurrentTime()
		o.metrics.own.synced.WithLabelValues(o.family).Set(1)
		return
	}
	o.metrics.own.failures.WithLabelValues(string(f.Task), o.family).Inc()
	if f.Task != proxier.TaskSync {
		return
	}
	o.wrote(f.Full, f.Took)
	var refused xtables.RestoreError
	if !errors.As(f.Err, &refused) {
		return
	}
	o.metrics.proxy.restoreFailures.WithLabelValues(o.family).Inc()
	if !f.Full {
		o.metrics.proxy.partFailures.WithLabelValues(o.family).Inc()
	}
}

// Took implements proxier.Observer.
func (o *observer) Took(phase proxier.Phase, d time.Duration) { o.phases[phase].Observe(d.Seconds()) }

// Repaired implements proxier.Observer.
func (o *observer) Repaired(drift []string) {
	for _, difference := range drift {
		o.metrics.own.repaired.WithLabelValues(DriftKind(difference), o.family).Inc()
	}
}
