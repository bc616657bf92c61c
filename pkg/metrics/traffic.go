package metrics

import (
	"maps"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead/fairlead/pkg/service"
)

// counted is what the service ports of one family had to do since this process started. It is never changed: the next one replaces it, so
// that a scrape keeps nobody waiting.
type counted struct {
	ports   map[service.PortName]service.Traffic
	packets bool // packets and bytes are counted
	at      time.Time
}

// plus adds what has been counted since. Ports that the table does not have any more are dropped.
func (c *counted) plus(more service.TrafficCounts, table *service.Table) *counted {
	sum := &counted{ports: map[service.PortName]service.Traffic{}, packets: more.Packets, at: time.Now()}
	if c != nil {
		sum.ports = maps.Clone(c.ports)
	}
	for name, t := range more.Ports {
		sum.ports[name] = sum.ports[name].Plus(t)
	}
	maps.DeleteFunc(sum.ports, func(name service.PortName, _ service.Traffic) bool { return table == nil || table.Port(name) == nil })
	return sum
}

// Traffic implements proxier.Observer.
func (o *observer) Traffic(more service.TrafficCounts) {
	o.traffic.Store(o.traffic.Load().plus(more, o.table.Load()))
}

// traffic gives what was counted, of the service ports that there are now. A port that has come since starts at 0, so that its first
// connections show as an increase.
//
// It is no Collector: for tens of thousands of series, what the registry does to check them takes most of a scrape.
type traffic struct{ metrics *Metrics }

// Gather implements prometheus.Gatherer.
func (t *traffic) Gather() ([]*dto.MetricFamily, error) {
	connections := family("fairlead_service_connections_total", "Connections and flows that were opened through a service port.", dto.MetricType_COUNTER)
	packets := family("fairlead_service_packets_total", "Packets of connections through a service port, from clients (in) and to them (out).", dto.MetricType_COUNTER)
	octets := family("fairlead_service_bytes_total", "Bytes of connections through a service port, from clients (in) and to them (out), with their headers.", dto.MetricType_COUNTER)
	read := family("fairlead_service_counters_read_timestamp_seconds", "When the counters of service ports were last read from the kernel.", dto.MetricType_GAUGE)
	for _, o := range t.metrics.observers() {
		c, table := o.traffic.Load(), o.table.Load()
		if c == nil || table == nil {
			continue
		}
		labels := []*dto.LabelPair{label(labelFamily, o.family)}
		read.Metric = append(read.Metric, &dto.Metric{Label: labels, Gauge: &dto.Gauge{Value: new(float64(c.at.UnixMilli()) / 1000)}})
		for _, p := range table.Ports {
			if len(p.Frontends) == 0 {
				continue
			}
			labels, n := portLabels(o.family, p.Name), c.ports[p.Name]
			add(connections, labels, n.Connections)
			if c.packets {
				in, out := withDirection("in", labels), withDirection("out", labels)
				add(packets, in, n.PacketsIn)
				add(packets, out, n.PacketsOut)
				add(octets, in, n.BytesIn)
				add(octets, out, n.BytesOut)
			}
		}
	}
	return slices.DeleteFunc([]*dto.MetricFamily{octets, connections, read, packets}, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 }), nil
}

func family(name, help string, kind dto.MetricType) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// portLabels are sorted. They are not "namespace" and "service": a scrape by the Prometheus Operator gives these labels to the target.
func portLabels(family string, name service.PortName) []*dto.LabelPair {
	return []*dto.LabelPair{
		label(labelFamily, family), label("protocol", name.Protocol.String()),
		label("service_name", name.Name), label("service_namespace", name.Namespace), label("service_port", name.Port),
	}
}

func withDirection(direction string, labels []*dto.LabelPair) []*dto.LabelPair {
	return append([]*dto.LabelPair{label("direction", direction)}, labels...)
}

func add(to *dto.MetricFamily, labels []*dto.LabelPair, n uint64) {
	to.Metric = append(to.Metric, &dto.Metric{Label: labels, Counter: &dto.Counter{Value: new(float64(n))}})
}
