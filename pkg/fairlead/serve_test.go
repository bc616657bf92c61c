package fairlead

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/service"
)

func TestTheMetricsServerAnswers(t *testing.T) {
	tests := []struct {
		name, path string
		set        func(*config.Config)
		status     int
		words      string
	}{
		{"metrics", "/metrics", nil, 200, "fairlead_build_info"},
		{"the mode in plain text", "/proxyMode", nil, 200, "iptables"},
		{"the mode that has been switched to", "/proxyMode", func(c *config.Config) { c.Mode = config.ModeIPVS }, 200, "ipvs"},
		{"the settings", "/configz", func(c *config.Config) { c.ClusterCIDR = "10.0.0.0/8" }, 200, `"clusterCIDR":"10.0.0.0/8"`},
		{"liveness of the server", "/healthz", nil, 200, "ok"},
		{"no profiles by default", "/debug/pprof/", nil, 404, ""},
		{"no flags, if there are none", "/flagz", nil, 404, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMonitor(config.Default(), []service.Family{service.IPv4})
			c := config.Default()
			if test.set != nil {
				test.set(c)
			}
			m.setConfig(c)
			w := httptest.NewRecorder()
			m.metricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.words) {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
}

func TestProfilesByFlag(t *testing.T) {
	c := config.Default()
	c.HTTP.Profiling = true
	w := httptest.NewRecorder()
	newMonitor(c, nil).metricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/pprof/goroutine?debug=1", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "goroutine profile") {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

func TestServersListenAtTheConfiguredAddresses(t *testing.T) {
	tests := []struct {
		name             string
		healthz, metrics string
		want             []string
	}{
		{"by default", "0.0.0.0:10256", "127.0.0.1:10249", []string{"0.0.0.0:10256", "127.0.0.1:10249"}},
		{"none, if both are empty", "", "", nil},
		{"one of them", "[::1]:10256", "", []string{"[::1]:10256"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.HTTP.HealthzBindAddress, c.HTTP.MetricsBindAddress = test.healthz, test.metrics
			settings, err := c.Settings()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range newMonitor(c, nil).servers(settings) {
				got = append(got, s.Address.String())
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("got %q", got)
			}
		})
	}
}
