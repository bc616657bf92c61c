package metrics_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/pkg/metrics"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

// connections are the series of connections that m has, with their values.
func connections(t *testing.T, m *metrics.Metrics) []string {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range families {
		for _, s := range f.GetMetric() {
			if f.GetName() != "fairlead_service_connections_total" {
				continue
			}
			labels := map[string]string{}
			for _, l := range s.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			list = append(list, fmt.Sprintf("%s/%s:%s/%s %v", labels["service_namespace"], labels["service_name"], labels["service_port"], labels["protocol"], s.GetCounter().GetValue()))
		}
	}
	slices.Sort(list)
	return list
}

func TestTrafficOfServicePorts(t *testing.T) {
	m := metrics.New("v1.2.3")
	o := m.Observer(service.IPv4)
	a, b := table().Ports[0].Name, table().Ports[2].Name
	counted := func(name service.PortName, n uint64) {
		o.Traffic(service.TrafficCounts{Ports: map[service.PortName]service.Traffic{name: {Connections: n}}})
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, connections(t, m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	o.Synced(proxier.Sync{Table: table(), Written: true})
	check("before anything has been counted")
	counted(a, 2)
	check("every port of the Table, those without traffic as well",
		"default/a:1/tcp 2", "default/a:2/tcp 0", "default/b:1/tcp 0", "default/c:1/tcp 0")
	counted(a, 3)
	counted(b, 1)
	check("counts are added up", "default/a:1/tcp 5", "default/a:2/tcp 0", "default/b:1/tcp 1", "default/c:1/tcp 0")

	less := table()
	less.Ports = less.Ports[2:]
	o.Synced(proxier.Sync{Table: less, Written: true})
	check("a Service that is deleted has no series any more", "default/b:1/tcp 1", "default/c:1/tcp 0")
	counted(b, 1)
	o.Synced(proxier.Sync{Table: table(), Written: true})
	check("one that comes again begins at zero", "default/a:1/tcp 0", "default/a:2/tcp 0", "default/b:1/tcp 2", "default/c:1/tcp 0")
	if n, err := testutil.GatherAndCount(m.Gatherer(), "fairlead_service_packets_total", "fairlead_service_bytes_total"); n != 0 || err != nil {
		t.Errorf("%d series of packets and bytes, where only connections are counted; %v", n, err)
	}
}
