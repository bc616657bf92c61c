package metrics_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// expressions are what a file asks Prometheus, wherever in it that stands under the keys expr and query.
func expressions(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var content any
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	var list []string
	var walk func(key string, value any)
	walk = func(key string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for k, inner := range v {
				walk(k, inner)
			}
		case []any:
			for _, inner := range v {
				walk(key, inner)
			}
		case string:
			if key == "expr" || key == "query" && strings.Contains(v, "(") {
				list = append(list, v)
			}
		}
	}
	walk("", content)
	if len(list) == 0 {
		t.Fatalf("no expression in %s", file)
	}
	return list
}

var (
	// selector is a metric's name, as all of them have it: with an underscore or alone in the world.
	selector = regexp.MustCompile(`\b(up|[a-z]+_[a-z_]+)\b(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)=~?"`)
	grouping = regexp.MustCompile(`\b(?:by|without) \(([^)]*)\)`)
	suffix   = regexp.MustCompile(`_(bucket|count|sum)$`)
	words    = []string{"histogram_quantile", "label_values", "ip_family", "traffic_policy"}
)

// TestMonitoringAsksForWhatThereIs holds the dashboard and the alerts against what Fairlead serves.
func TestMonitoringAsksForWhatThereIs(t *testing.T) {
	families, err := used(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	scraped := []string{"job", "instance", "le"}
	labels := map[string][]string{"up": scraped}
	for _, f := range families {
		list := slices.Clone(scraped)
		for _, l := range f.GetMetric()[0].GetLabel() {
			list = append(list, l.GetName())
		}
		labels[f.GetName()] = list
	}
	for _, file := range []string{"prometheusrule.yaml", "dashboard.json"} {
		for _, e := range expressions(t, "../../manifests/monitoring/"+file) {
			if problem := unbalanced(e); problem != "" {
				t.Errorf("%s: %s: %s", file, problem, e)
			}
			asked := []string{}
			for _, m := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(e, ""), -1) {
				name := m[1]
				if _, is := labels[name]; !is {
					name = suffix.ReplaceAllString(name, "")
				}
				if slices.Contains(words, name) {
					continue
				}
				have, is := labels[name]
				if !is {
					t.Errorf("%s: there is no %s: %s", file, m[1], e)
				}
				asked = append(asked, have...)
				for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
					if !slices.Contains(have, l[1]) {
						t.Errorf("%s: %s has no label %s: %s", file, name, l[1], e)
					}
				}
			}
			if len(asked) == 0 {
				t.Errorf("%s: asks for nothing: %s", file, e)
			}
			for _, g := range grouping.FindAllStringSubmatch(e, -1) {
				for l := range strings.SplitSeq(g[1], ", ") {
					if !slices.Contains(asked, l) {
						t.Errorf("%s: nothing has the label %s: %s", file, l, e)
					}
				}
			}
		}
	}
}

// rules is a PrometheusRule, as far as Fairlead has one. Other fields are errors.
type rules struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		Groups []struct {
			Name  string  `json:"name"`
			Rules []alert `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) map[string]alert {
	t.Helper()
	text, err := os.ReadFile("../../manifests/monitoring/prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := yaml.UnmarshalStrict(text, &r); err != nil {
		t.Fatal(err)
	}
	all := map[string]alert{}
	for _, g := range r.Spec.Groups {
		for _, a := range g.Rules {
			if _, ok := all[a.Alert]; ok || a.Alert == "" {
				t.Errorf("there are two alerts %q", a.Alert)
			}
			all[a.Alert] = a
		}
	}
	return all
}

func TestAlertsAreComplete(t *testing.T) {
	for name, a := range alerts(t) {
		if a.For != "" {
			if _, err := time.ParseDuration(a.For); err != nil {
				t.Errorf("%s: for: %v", name, err)
			}
		}
		if a.Expr == "" || a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: something is missing: %+v", name, a)
		}
	}
}

// A reflector that may not list and watch tries both again every 30 seconds, and up to half as much later (client-go's back-off with jitter).
func TestOneMissingRightFiresAnAlert(t *testing.T) {
	const requestsPerSecond = 2 / 45.0
	fires := map[string]bool{}
	for name, a := range alerts(t) {
		codes := regexp.MustCompile(`code=~"([^"]*)"`).FindStringSubmatch(a.Expr)
		threshold, err := strconv.ParseFloat(a.Expr[strings.LastIndex(a.Expr, " ")+1:], 64)
		if codes == nil || err != nil || threshold >= requestsPerSecond {
			continue
		}
		for code := range strings.SplitSeq(codes[1], "|") {
			fires[code] = true
		}
		t.Logf("%s: %s above %v", name, codes[1], threshold)
	}
	for _, code := range []string{"401", "403"} {
		if !fires[code] {
			t.Errorf("no alert fires for %v requests per second with status %s", requestsPerSecond, code)
		}
	}
}

// unbalanced says what is wrong with the brackets and quotation marks of an expression. A parser of the whole language is a dependency larger
// than Fairlead.
func unbalanced(expression string) string {
	closing := map[rune]rune{'(': ')', '{': '}', '[': ']'}
	var open []rune
	quoted := false
	for _, r := range expression {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case closing[r] != 0:
			open = append(open, closing[r])
		case r == ')' || r == '}' || r == ']':
			if len(open) == 0 || open[len(open)-1] != r {
				return "a bracket closes that is not open"
			}
			open = open[:len(open)-1]
		}
	}
	if quoted || len(open) > 0 {
		return "a bracket or a quotation mark stays open"
	}
	return ""
}
