package metrics

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // has client-go count its requests
)

// process gives what all Kubernetes components count alike, by the same names: requests to the API server, as client-go counts them, and what
// the Go runtime and the operating system say of the process. In a program that embeds Fairlead, that is of the whole program.
type process struct{}

// ofProcess begins the names of these. What else is in that registry is about itself, or about Kubernetes' feature gates.
var ofProcess = []string{"rest_client_", "go_", "process_"}

// Gather implements prometheus.Gatherer.
func (process) Gather() ([]*dto.MetricFamily, error) {
	all, err := legacyregistry.DefaultGatherer.Gather()
	var list []*dto.MetricFamily
	for _, f := range all {
		if slices.ContainsFunc(ofProcess, func(prefix string) bool { return strings.HasPrefix(f.GetName(), prefix) }) {
			list = append(list, f)
		}
	}
	return list, err
}
