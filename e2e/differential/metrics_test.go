package differential

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// unclaimed are those of kube-proxy's metrics in iptables mode that Fairlead does not have; docs/metrics.md says why.
var unclaimed = []string{
	"kubeproxy_iptables_ct_state_invalid_dropped_packets_total", "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
	"kubernetes_build_info", "kubernetes_feature_enabled",
	"registered_metrics_total", "hidden_metrics_total", "disabled_metrics_total",
}

// ofLibraries begin the names of those that kube-proxy has because of libraries it is linked with, which are parts of an API server. They
// never change there.
var ofLibraries = []string{"apiserver_", "aggregator_", "cardinality_enforcement_"}

func isUnclaimed(name string) bool {
	return slices.Contains(unclaimed, name) ||
		slices.ContainsFunc(ofLibraries, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// TestNoneOfKubeProxysMetricsIsMissing runs a kube-proxy and a Fairlead in one cluster, each on a node of its own, and compares what they
// serve: each name that kube-proxy has, with its type, labels and buckets. It also compares with the list that pkg/metrics is tested against.
func TestNoneOfKubeProxysMetricsIsMissing(t *testing.T) {
	list := readList(t)
	c := newCluster(t)
	c.makeNamespaces(t, []string{canaryNamespace})
	var flags cases.Flags
	c.setNode(t, flags)
	c.startKubeProxy(t, flags)
	c.startFairlead(t)
	c.synced(t, flags)
	c.programmed(t, flags)
	theirs := c.metrics(t, c.Nodes[0])
	for name, line := range theirs {
		if want, listed := list[name]; listed && want != line {
			t.Errorf("the list says %q, and kube-proxy %q", want, line)
		}
	}
	// What both count of a process of theirs comes when it happens.
	var missing []string
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		ours := c.metrics(t, c.Nodes[1])
		missing = nil
		for name, line := range theirs {
			if got := ours[name]; got != line && !isUnclaimed(name) {
				missing = append(missing, fmt.Sprintf("kube-proxy has %q, Fairlead %q", line, got))
			}
		}
		if len(missing) == 0 || time.Now().After(end) {
			break
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Error(strings.Join(missing, "\n"))
	}
	seen := 0
	for name := range list {
		if _, ok := theirs[name]; ok {
			seen++
		}
	}
	if seen < 20 {
		t.Errorf("kube-proxy has %d of the %d in the list", seen, len(list))
	}
	maps.DeleteFunc(theirs, func(name, _ string) bool { return isUnclaimed(name) })
	for name := range list {
		if _, ok := theirs[name]; !ok {
			t.Logf("kube-proxy does not show %s now", name)
		}
	}
	t.Logf("%d of kube-proxy's metrics are compared, among them %d of the %d in the list", len(theirs), seen, len(list))
}

// programmed makes a slice that says when the change happened that it was written for, and waits until both have counted it, once.
func (c *cluster) programmed(t *testing.T, flags cases.Flags) {
	t.Helper()
	c.canaries++
	made := newCanary(c.canaries, service.IPv4, flags)
	made.slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().UTC().Format(time.RFC3339Nano)}
	for _, o := range []cases.Object{made.service, made.slice} {
		if err := c.create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	const want = `kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1`
	for _, node := range c.Nodes[:2] {
		for end := time.Now().Add(lab.Patience(time.Minute)); ; time.Sleep(100 * time.Millisecond) {
			text, err := scrape(t.Context(), node, 10249, "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, want+"\n") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: no %s, but %q", node.Name, want, regexp.MustCompile(`.*network_programming.*(count|sum).*`).FindAllString(text, -1))
			}
		}
	}
}

// readList reads the list that pkg/metrics is tested against, by name.
func readList(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../pkg/metrics/testdata/kube-proxy.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, " "); name != "#" {
			list[name] = strings.TrimSpace(line)
		}
	}
	return list
}

func TestWhatIsNotThereIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(unclaimed, ofLibraries) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not say why there is no %s", name)
		}
	}
}

// startFairlead runs Fairlead on the second node until the end of the test.
func (c *cluster) startFairlead(t *testing.T) {
	t.Helper()
	kubeconfig, err := c.plane.Kubeconfig(apiserver.KubeProxyUser)
	if err != nil {
		t.Fatal(err)
	}
	var log site.Log
	process, err := c.Nodes[1].StartProcess(site.Program, []string{
		"--kubeconfig", kubeconfig, "--hostname-override", cases.Node1, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", "nft",
		"--conntrack-max-per-core", "0",
	}, &log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Stop(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("Fairlead's log ends with\n%s", lastLines(log.String(), 12))
		}
	})
}

// metrics are those of a node's proxy, described as a line of the list, by name. Its health is asked for first, which is counted.
func (c *cluster) metrics(t *testing.T, node *lab.Host) map[string]string {
	t.Helper()
	for _, path := range []string{"/healthz", "/livez"} {
		if _, err := scrape(t.Context(), node, 10256, path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := scrape(t.Context(), node, 10249, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return describeMetrics(text)
}

// scrape asks a proxy, which may not have begun to listen.
func scrape(ctx context.Context, node *lab.Host, port int, path string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return node.DialContext(ctx, network, address)
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
