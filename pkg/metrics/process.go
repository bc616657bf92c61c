package metrics

import (
	"strings"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // has client-go count its requests
)

// restClient gives what client-go counts of requests to the API server, by the names that all Kubernetes components have for it. It counts
// those of the whole process: in a program that embeds Fairlead, all of that program's.
type restClient struct{}

// Gather implements prometheus.Gatherer. What else is in that registry is not ours, or is in our own.
func (restClient) Gather() ([]*dto.MetricFamily, error) {
	all, err := legacyregistry.DefaultGatherer.Gather()
	var list []*dto.MetricFamily
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), "rest_client_") {
			list = append(list, f)
		}
	}
	return list, err
}
