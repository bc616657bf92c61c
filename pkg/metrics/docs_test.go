package metrics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryMetricIsDocumented compares what is served with docs/metrics.md, both ways.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := used(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		served[name] = true
		own := strings.HasPrefix(name, "fairlead_") || strings.HasPrefix(name, "kubeproxy_")
		if own && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`((?:fairlead|kubeproxy)_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		if !served[m[1]] && !strings.HasPrefix(m[1], "kubeproxy_iptables_") { // of which it says that they do not exist
			t.Errorf("docs/metrics.md has %s, which is not served", m[1])
		}
	}
}

// TestEveryAlertIsDocumented compares the names of alerts with docs/metrics.md, both ways.
func TestEveryAlertIsDocumented(t *testing.T) {
	names := func(file, expression string) map[string]bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return found
	}
	rules, docs := names("../../manifests/monitoring/prometheusrule.yaml", `alert: (\w+)`), names("../../docs/metrics.md", "\\| `(Fairlead\\w+)` \\|")
	for name := range rules {
		if !docs[name] {
			t.Errorf("docs/metrics.md does not have the alert %s", name)
		}
	}
	for name := range docs {
		if !rules[name] {
			t.Errorf("docs/metrics.md has %s, which is no alert", name)
		}
	}
}
