package differential

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/cases"
)

// unclaimed are those of kube-proxy's metrics in iptables mode that Fairlead has not; docs/metrics.md says so.
var unclaimed = []string{
	"kubeproxy_iptables_ct_state_invalid_dropped_packets_total", "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
}

// TestTheListOfKubeProxysMetricsIsTrue holds the list that pkg/metrics is tested against against the real one.
func TestTheListOfKubeProxysMetricsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../pkg/metrics/testdata/kube-proxy.txt")
	if err != nil {
		t.Fatal(err)
	}
	claimed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, " "); name != "#" {
			claimed[name] = strings.TrimSpace(line)
		}
	}
	c := newCluster(t)
	c.makeNamespaces(t, []string{canaryNamespace})
	var flags cases.Flags
	c.setNode(t, flags)
	c.startKubeProxy(t, flags)
	c.synced(t, flags)
	for _, path := range []string{"/healthz", "/livez"} {
		if _, err := c.scrape(t.Context(), 10256, path); err != nil { // which is counted
			t.Fatal(err)
		}
	}
	metrics, err := c.scrape(t.Context(), 10249, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, line := range describeMetrics(metrics) {
		if !strings.HasPrefix(name, "kubeproxy_") || slices.Contains(unclaimed, name) {
			continue
		}
		seen++
		if claimed[name] != line {
			t.Errorf("the list says %q, and kube-proxy %q", claimed[name], line)
		}
	}
	if seen < 10 {
		t.Errorf("%d of kube-proxy's metrics in\n%s", seen, metrics)
	}
	t.Logf("%d of %d in the list have been seen", seen, len(claimed))
}

// scrape asks kube-proxy, which may not have begun to listen.
func (c *cluster) scrape(ctx context.Context, port int, path string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.Nodes[0].DialContext(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return "", err
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		response, err := client.Do(request)
		if err == nil {
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			return string(text), err
		}
		if time.Now().After(end) {
			return "", err
		}
	}
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	label    = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// describeMetrics describes each metric as a line of the list, by name.
func describeMetrics(text string) map[string]string {
	list := map[string]string{}
	for _, m := range typeLine.FindAllStringSubmatch(text, -1) {
		name, kind := m[1], m[2]
		series := firstSeries(text, name, kind == "histogram")
		var labels []string
		var sum float64
		buckets := 0
		for i, s := range series {
			for _, l := range label.FindAllStringSubmatch(s, -1) {
				bound, err := strconv.ParseFloat(l[2], 64)
				switch {
				case l[1] == "le" && l[2] != "+Inf" && err == nil:
					buckets++
					sum += bound
				case l[1] != "le" && i == 0:
					labels = append(labels, l[1])
				}
			}
		}
		slices.Sort(labels)
		line := name + " " + kind + " " + strings.Join(labels, ",")
		if len(labels) == 0 {
			line += "-"
		}
		if kind == "histogram" {
			line += fmt.Sprintf(" %d %.6g", buckets, sum)
		}
		list[name] = line
	}
	return list
}

// firstSeries are the lines of a metric's first series: all of its buckets, if it has some.
func firstSeries(text, name string, histogram bool) []string {
	if histogram {
		name += "_bucket"
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		lines = append(lines, line)
		if !histogram || strings.Contains(line, `le="+Inf"`) {
			break
		}
	}
	return lines
}
