package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clientMetrics are of requests to the API server, by the names that all Kubernetes components have for them. client-go would have
// its own counted for the whole process, which may be somebody else's.
type clientMetrics struct {
	took     *prometheus.HistogramVec
	requests *prometheus.CounterVec
}

func newClientMetrics() clientMetrics {
	return clientMetrics{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rest_client_request_duration_seconds",
			Help:    "How long requests to the API server took, until its answer began. Watches are left out.",
			Buckets: []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60},
		}, []string{"verb", "host"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rest_client_requests_total",
			Help: "Requests to the API server, by status; <error>: no answer.",
		}, []string{labelCode, "method", "host"}),
	}
}

func (c *clientMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{c.took, c.requests}
}

// Client counts the requests that go to next.
func (m *Metrics) Client(next http.RoundTripper) http.RoundTripper { return &counted{&m.client, next} }

type counted struct {
	metrics *clientMetrics
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *counted) RoundTrip(request *http.Request) (*http.Response, error) {
	start := time.Now()
	response, err := c.next.RoundTrip(request)
	code := "<error>"
	if err == nil {
		code = strconv.Itoa(response.StatusCode)
	}
	c.metrics.requests.WithLabelValues(code, request.Method, request.URL.Host).Inc()
	if request.URL.Query().Get("watch") == "" {
		c.metrics.took.WithLabelValues(request.Method, request.URL.Host).Observe(time.Since(start).Seconds())
	}
	return response, err
}
