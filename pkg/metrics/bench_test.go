package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fairlead/fairlead/pkg/metrics"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

// BenchmarkScrape scrapes a node with 10,000 service ports, without counters and with those of each mode.
func BenchmarkScrape(b *testing.B) {
	for _, mode := range []string{"off", "iptables", "ipvs"} {
		b.Run(mode, func(b *testing.B) {
			m := metrics.New("v1.2.3")
			o := m.Observer(service.IPv4)
			t := &service.Table{}
			counts := service.TrafficCounts{Packets: mode == "ipvs", Ports: map[service.PortName]service.Traffic{}}
			for n := range 10000 {
				name := service.PortName{Namespace: "default", Name: fmt.Sprintf("service-%05d", n), Port: "http", Protocol: service.TCP}
				t.Ports = append(t.Ports, &service.Port{Name: name, Frontends: []service.Frontend{{}}})
				counts.Ports[name] = service.Traffic{Connections: 12345, PacketsIn: 123456, PacketsOut: 123456, BytesIn: 1234567, BytesOut: 12345678}
			}
			o.Synced(proxier.Sync{Table: t, Written: true})
			if mode != "off" {
				o.Traffic(counts)
			}
			handler := m.Handler()
			b.ReportAllocs()
			var size int64
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				size, _ = io.Copy(io.Discard, w.Body)
			}
			b.ReportMetric(float64(size)/1024, "KiB/scrape")
		})
	}
}
