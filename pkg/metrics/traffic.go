package metrics

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// Not "namespace" and "service": a scrape by the Prometheus Operator gives these labels to the target.
var (
	portLabels         = []string{"service_namespace", "service_name", "service_port", "protocol", labelFamily}
	trafficConnections = prometheus.NewDesc("fairlead_service_connections_total", "Connections and flows that were opened through a service port.", portLabels, nil)
	trafficPackets     = prometheus.NewDesc("fairlead_service_packets_total", "Packets of connections through a service port, from clients (in) and to them (out).", append(portLabels, "direction"), nil)
	trafficBytes       = prometheus.NewDesc("fairlead_service_bytes_total", "Bytes of connections through a service port, from clients (in) and to them (out), with their headers.", append(portLabels, "direction"), nil)
	trafficRead        = prometheus.NewDesc("fairlead_service_counters_read_timestamp_seconds", "When the counters of service ports were last read from the kernel.", []string{labelFamily}, nil)
)

// traffic gives what was counted, of the service ports that there are now. A port that has come since starts at 0, so that its first
// connections show as an increase.
type traffic struct{ metrics *Metrics }

// Describe implements prometheus.Collector.
func (t *traffic) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{trafficConnections, trafficPackets, trafficBytes, trafficRead} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (t *traffic) Collect(out chan<- prometheus.Metric) {
	for _, o := range t.metrics.observers() {
		c, table := o.traffic.Load(), o.table.Load()
		if c == nil || table == nil {
			continue
		}
		out <- prometheus.MustNewConstMetric(trafficRead, prometheus.GaugeValue, float64(c.at.UnixMilli())/1000, o.family)
		for _, p := range table.Ports {
			if len(p.Frontends) > 0 {
				collectTraffic(out, o.family, p.Name, c.ports[p.Name], c.packets)
			}
		}
	}
}

func collectTraffic(out chan<- prometheus.Metric, family string, name service.PortName, t service.Traffic, packets bool) {
	counter := func(d *prometheus.Desc, n uint64, direction ...string) {
		labels := append([]string{name.Namespace, name.Name, name.Port, name.Protocol.String(), family}, direction...)
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(trafficConnections, t.Connections)
	if !packets {
		return
	}
	counter(trafficPackets, t.PacketsIn, "in")
	counter(trafficPackets, t.PacketsOut, "out")
	counter(trafficBytes, t.BytesIn, "in")
	counter(trafficBytes, t.BytesOut, "out")
}
