package metrics_test

import (
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"
)

// podMonitor is as much of a PodMonitor as matters here.
type podMonitor struct {
	Spec struct {
		JobLabel  string
		Selector  struct{ MatchLabels map[string]string }
		Endpoints []struct {
			Relabelings []struct {
				SourceLabels                    []string
				Regex, TargetLabel, Replacement string
			}
		} `json:"podMetricsEndpoints"`
	}
}

// TestThePodMonitorFindsEveryPod computes what Prometheus does with the addresses of pods. Its expressions match a whole value.
func TestThePodMonitorFindsEveryPod(t *testing.T) {
	text, err := os.ReadFile("../../manifests/monitoring/podmonitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var m podMonitor
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if job := m.Spec.Selector.MatchLabels[m.Spec.JobLabel]; job != "kube-proxy" {
		t.Errorf("the job is called %q", job)
	}
	for ip, want := range map[string]string{"172.30.0.11": "172.30.0.11:10249", "fd00:30::11": "[fd00:30::11]:10249"} {
		got := ip
		for _, r := range m.Spec.Endpoints[0].Relabelings {
			if expression := regexp.MustCompile("^(?:" + r.Regex + ")$"); r.TargetLabel == "__address__" && expression.MatchString(ip) {
				got = expression.ReplaceAllString(ip, r.Replacement)
			}
		}
		if got != want {
			t.Errorf("the pod %s is scraped at %s, want %s", ip, got, want)
		}
	}
}
