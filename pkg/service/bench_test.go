package service_test

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/e2e/bench"
	. "github.com/fairlead/fairlead/pkg/service"
)

// The cluster that the compiler is measured with.
const (
	benchServices  = 10000
	benchEndpoints = 10
)

// BenchmarkCompile compiles every object of a large cluster into its first Table.
func BenchmarkCompile(b *testing.B) {
	retained := retainedBytes()
	cluster := bench.NewCluster(benchServices, benchEndpoints)
	var services []*corev1.Service
	var slices []*discoveryv1.EndpointSlice
	for i := range cluster {
		svc, slice := objects(&cluster[i])
		services, slices = append(services, svc), append(slices, slice)
	}
	b.ReportAllocs()
	for b.Loop() {
		builder := newBuilder()
		for i := range services {
			builder.SetService(services[i])
			builder.SetSlice(slices[i])
		}
		builder.Build()
	}
	b.ReportMetric(float64(retained)/1e6, "retained-MB")
}

func newBuilder() *Builder {
	return NewBuilder(Options{Family: IPv4, NodeName: bench.Node, Pods: LocalTraffic{Sources: bench.Pods}})
}

// objects are those of one Service, each endpoint in a zone, as in a real cluster.
func objects(s *bench.Service) (*corev1.Service, *discoveryv1.EndpointSlice) {
	svc, slice := s.Objects()
	for i := range slice.Endpoints {
		zone := fmt.Sprintf("zone-%d", i%3)
		slice.Endpoints[i].Zone = &zone
	}
	return svc, slice
}

// retainedBytes is what a Builder and its Table keep of a large cluster once the objects are gone.
func retainedBytes() uint64 {
	before := heap()
	builder := newBuilder()
	cluster := bench.NewCluster(benchServices, benchEndpoints)
	for i := range cluster {
		svc, slice := objects(&cluster[i])
		builder.SetService(svc)
		builder.SetSlice(slice)
	}
	table, _, _ := builder.Build()
	after := heap()
	runtime.KeepAlive(builder)
	runtime.KeepAlive(table)
	return after - before
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers held goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCompileChange takes in one slice with another endpoint and makes the next Table of a large cluster.
func BenchmarkCompileChange(b *testing.B) {
	cluster := bench.NewCluster(benchServices, benchEndpoints)
	builder := cluster.Builder()
	builder.Build()
	changed := &cluster[benchServices/2]
	_, was := changed.Objects()
	changed.Replace(1)
	_, is := changed.Objects()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%2 == 0 {
			builder.SetSlice(is)
		} else {
			builder.SetSlice(was)
		}
		builder.Build()
	}
}
