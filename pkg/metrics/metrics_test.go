package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/metrics"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// table has three ports: one with an endpoint here, one that has none here, for pods and for outsiders, and one with none at all.
func table() *service.Table {
	port := func(name, number string, scope service.Scope, endpoints, local int) *service.Port {
		p := &service.Port{
			Name:      service.PortName{Namespace: "default", Name: name, Port: number, Protocol: service.TCP},
			Frontends: []service.Frontend{{Scope: service.Cluster}, {Scope: scope}},
		}
		for i := range endpoints {
			p.Endpoints = append(p.Endpoints, service.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)})
		}
		p.Local = p.Endpoints[:local]
		return p
	}
	return &service.Table{Ports: []*service.Port{
		port("a", "1", service.Node, 2, 1), port("a", "2", service.Node, 3, 0), port("b", "1", service.NodeForOutsiders, 1, 0),
		port("c", "1", service.Node, 0, 0),
	}}
}

// used returns Metrics in which everything has happened once, so that each series is there.
func used(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New("v1.2.3")
	o := m.Observer(service.IPv4)
	o.ServiceChanged()
	o.EndpointsChanged()
	o.EndpointsChanged()
	o.Queued()
	o.Failed(proxier.Failure{Task: proxier.TaskSync, Err: fmt.Errorf("sync: %w", xtables.RestoreError{}), InARow: 1, Took: time.Second})
	o.Failed(proxier.Failure{Task: proxier.TaskSync, Err: errors.New("no such program"), InARow: 2, Full: true})
	o.Synced(proxier.Sync{
		Table: table(), Written: true, Full: true, Took: 20 * time.Millisecond, Services: 1, Endpoints: 1,
		Rules: map[string]int{"nat": 30}, RulesWritten: map[string]int{"nat": 7}, Delays: []time.Duration{300 * time.Millisecond},
	})
	o.Repaired([]string{"nat FL-SERVICES: the chain is gone", "virtual server 10.96.0.1,tcp:80 is gone"})
	o.Took(proxier.PhaseWrite, 20*time.Millisecond)
	o.Traffic(service.TrafficCounts{Packets: true, Ports: map[service.PortName]service.Traffic{
		{Namespace: "default", Name: "a", Port: "1", Protocol: service.TCP}: {Connections: 5, PacketsIn: 50, PacketsOut: 40, BytesIn: 5000, BytesOut: 40000},
	}})
	m.Healthz(http.StatusOK)
	m.Livez(http.StatusServiceUnavailable)
	m.Flows(service.IPv4)(conntrack.Sweep{Took: time.Millisecond, Deleted: map[conntrack.Deleted]int{
		{Protocol: service.UDP, Reason: conntrack.EndpointGone}: 2, {Protocol: service.TCP, Reason: conntrack.NotTranslated}: 1,
	}})
	m.Switched("ipvs", nil)
	m.Switched("iptables", errors.New("no"))
	m.Event("DriftRepaired")
	m.SetMode("iptables")
	ask(t)
	return m
}

// ask has client-go send a request that is asked to be sent again.
func ask(t *testing.T) {
	t.Helper()
	refused := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !refused {
			refused = true
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","namespace":"default"}}`)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// claimed are the lines of the file that lists what kube-proxy has, by name.
func claimed(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/kube-proxy.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			name, _, _ := strings.Cut(line, " ")
			lines[name] = line
		}
	}
	return lines
}

func describe(family *dto.MetricFamily) string {
	var labels []string
	for _, l := range family.GetMetric()[0].GetLabel() {
		labels = append(labels, l.GetName())
	}
	slices.Sort(labels)
	text := family.GetName() + " " + strings.ToLower(family.GetType().String()) + " " + strings.Join(labels, ",")
	if len(labels) == 0 {
		text += "-"
	}
	if family.GetType() == dto.MetricType_HISTOGRAM {
		var sum float64
		buckets := family.GetMetric()[0].GetHistogram().GetBucket()
		for _, b := range buckets {
			sum += b.GetUpperBound()
		}
		text += fmt.Sprintf(" %d %.6g", len(buckets), sum)
	}
	return text
}

func TestWhatKubeProxyHasTooIsTheSame(t *testing.T) {
	families, err := used(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "kubeproxy_") || strings.HasPrefix(f.GetName(), "rest_client_") {
			got[f.GetName()] = describe(f)
		}
	}
	if diff := cmp.Diff(claimed(t), got); diff != "" {
		t.Errorf("(-kube-proxy's +ours):\n%s", diff)
	}
}

func TestOwnNamesAreAsPrometheusAdvises(t *testing.T) {
	problems, err := testutil.GatherAndLint(used(t).Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	kubeProxys := claimed(t)
	for _, p := range problems {
		if _, is := kubeProxys[p.Metric]; !is { // which may not be changed
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestEverythingIsCounted(t *testing.T) {
	m := used(t)
	for name, want := range map[string]string{
		"kubeproxy_sync_proxy_rules_endpoint_changes_total":                  "2",
		"kubeproxy_sync_proxy_rules_endpoint_changes_pending":                "1",
		"kubeproxy_sync_proxy_rules_service_changes_total":                   "1",
		"kubeproxy_sync_proxy_rules_service_changes_pending":                 "0",
		"kubeproxy_conntrack_reconciler_deleted_entries_total":               `{ip_family="IPv4"} 3`,
		"kubeproxy_sync_proxy_rules_iptables_total":                          `{ip_family="IPv4",table="nat"} 30`,
		"kubeproxy_sync_proxy_rules_iptables_last":                           `{ip_family="IPv4",table="nat"} 7`,
		"kubeproxy_sync_proxy_rules_no_local_endpoints_total":                `{ip_family="IPv4",traffic_policy="external"} 1;{ip_family="IPv4",traffic_policy="internal"} 1`,
		"kubeproxy_proxy_livez_total":                                        `{code="503"} 1`,
		"kubeproxy_proxy_healthz_total":                                      `{code="200"} 1`,
		"kubeproxy_sync_proxy_rules_iptables_restore_failures_total":         `{ip_family="IPv4"} 1`,
		"kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total": `{ip_family="IPv4"} 1`,
		"fairlead_services":       `{ip_family="IPv4"} 3`,
		"fairlead_service_ports":  `{ip_family="IPv4"} 4`,
		"fairlead_endpoints":      `{ip_family="IPv4"} 6`,
		"fairlead_behind_seconds": `{ip_family="IPv4"} 0`,
		"fairlead_synced":         `{ip_family="IPv4"} 1`,
		"fairlead_drift_repaired_total": `{ip_family="IPv4",kind="chain"} 1;{ip_family="IPv4",kind="jump"} 0;{ip_family="IPv4",kind="real_servers"} 0;` +
			`{ip_family="IPv4",kind="route"} 0;{ip_family="IPv4",kind="routing_rule"} 0;{ip_family="IPv4",kind="set"} 0;{ip_family="IPv4",kind="virtual_server"} 1`,
		"fairlead_conntrack_deleted_flows_total": `{ip_family="IPv4",protocol="sctp",reason="endpoint_gone"} 0;{ip_family="IPv4",protocol="sctp",reason="not_translated"} 0;` +
			`{ip_family="IPv4",protocol="tcp",reason="endpoint_gone"} 0;{ip_family="IPv4",protocol="tcp",reason="not_translated"} 1;` +
			`{ip_family="IPv4",protocol="udp",reason="endpoint_gone"} 2;{ip_family="IPv4",protocol="udp",reason="not_translated"} 0`,
		"fairlead_mode":                `{mode="iptables"} 1`,
		"fairlead_mode_switches_total": `{result="done",to="ipvs"} 1;{result="failed",to="iptables"} 1`,
	} {
		text := "# "
		for series := range strings.SplitSeq(want, ";") {
			if !strings.HasPrefix(series, "{") {
				series = " " + series
			}
			text += "\n" + name + series
		}
		if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(header(t, m, name)+text[2:]+"\n"), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEachModeHasTheMetricsOfKubeProxysMode compares with what kube-proxy 1.36.3 registers (RegisterMetrics in pkg/proxy/metrics).
func TestEachModeHasTheMetricsOfKubeProxysMode(t *testing.T) {
	const ofBoth, ofIPTables = "restore_failures conntrack_reconciler_sync conntrack_reconciler_deleted", "full_proxy partial_proxy partial_restore rules_iptables_total rules_iptables_last"
	for mode, want := range map[string][]string{"iptables": strings.Fields(ofBoth + " " + ofIPTables), "ipvs": strings.Fields(ofBoth)} {
		m := used(t)
		m.SetMode(mode)
		families, err := m.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Fields(ofBoth + " " + ofIPTables) {
			has := slices.ContainsFunc(families, func(f *dto.MetricFamily) bool {
				return strings.HasPrefix(f.GetName(), "kubeproxy_") && strings.Contains(strings.ReplaceAll(f.GetName(), "iptables_partial", "partial"), part)
			})
			if has != slices.Contains(want, part) {
				t.Errorf("%s mode: a metric with %q in its name: %v", mode, part, has)
			}
		}
	}
}

// header is what a metric's text begins with.
func header(t *testing.T, m *metrics.Metrics, name string) string {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return fmt.Sprintf("# HELP %s %s\n# TYPE %s %s", name, f.GetHelp(), name, strings.ToLower(f.GetType().String()))
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}
