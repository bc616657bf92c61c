package iptables

import (
	"bytes"
	"context"
	"io"
	"testing"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/e2e/bench"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// The cluster that the micro-benchmarks are made with. `make bench-micro` runs them.
const (
	benchServices  = 5000
	benchEndpoints = 10
)

// still is a kernel that takes everything and always holds the same.
type still struct {
	held     []byte
	restored int // bytes
}

func (k *still) Variant() xtables.Variant                     { return xtables.NFT }
func (k *still) RandomFully() bool                            { return true }
func (k *still) Delete(xtables.Jump) error                    { return nil }
func (k *still) Has(xtables.Jump) (bool, error)               { return true, nil }
func (k *still) Stamp(context.Context) (xtables.Stamp, error) { return xtables.Stamp{}, nil }
func (k *still) Save(_ context.Context, out io.Writer) error  { _, err := out.Write(k.held); return err }
func (k *still) SaveCounters(ctx context.Context, out io.Writer) error {
	return k.Save(ctx, out)
}
func (k *still) Restore(_ context.Context, text []byte) error { k.restored += len(text); return nil }
func (k *still) open(context.Context, service.Family, xtables.Variant) (xtables.Kernel, error) {
	return k, nil
}

// newBenchBackend keeps what is logged from standing between the figures.
func newBenchBackend(k *still) *Backend {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	return newBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, k.open)
}

// BenchmarkRender writes all chains of a large cluster as text.
func BenchmarkRender(b *testing.B) {
	table, _, _ := bench.NewCluster(benchServices, benchEndpoints).Builder().Build()
	backend := newBenchBackend(&still{})
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range table.Ports {
			backend.layout.portChains(table, p)
		}
		backend.layout.natChains(table)
	}
}

// BenchmarkLoad is a first sync into an empty kernel, without what the kernel needs for it.
func BenchmarkLoad(b *testing.B) {
	table, _, _ := bench.NewCluster(benchServices, benchEndpoints).Builder().Build()
	kernel := &still{}
	b.ReportAllocs()
	for b.Loop() {
		kernel.restored = 0
		if err := newBenchBackend(kernel).Sync(b.Context(), table, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(kernel.restored), "restored-B")
}

// BenchmarkDiff is the first sync of a new process on rules that are right: all is parsed, rendered and compared, and nothing written.
func BenchmarkDiff(b *testing.B) {
	table, _, _ := bench.NewCluster(benchServices, benchEndpoints).Builder().Build()
	memory := newKernel()
	if err := testBackend(Options{Family: service.IPv4, MasqueradeBit: 14}, memory).Sync(b.Context(), table, nil); err != nil {
		b.Fatal(err)
	}
	var held bytes.Buffer
	if err := memory.Save(b.Context(), &held); err != nil {
		b.Fatal(err)
	}
	kernel := &still{held: held.Bytes()}
	b.ReportAllocs()
	b.SetBytes(int64(held.Len()))
	for b.Loop() {
		if err := newBenchBackend(kernel).Sync(b.Context(), table, nil); err != nil {
			b.Fatal(err)
		}
	}
	if kernel.restored > 0 {
		b.Fatalf("%d bytes were written, though nothing differs", kernel.restored)
	}
}

// BenchmarkSyncOneChange is a sync after one endpoint has changed.
func BenchmarkSyncOneChange(b *testing.B) {
	cluster := bench.NewCluster(benchServices, benchEndpoints)
	builder := cluster.Builder()
	table, _, _ := builder.Build()
	kernel := &still{}
	backend := newBenchBackend(kernel)
	if err := backend.Sync(b.Context(), table, nil); err != nil {
		b.Fatal(err)
	}
	kernel.restored = 0
	changes := 0
	b.ReportAllocs()
	for b.Loop() {
		changes++
		s := &cluster[changes*7%len(cluster)]
		s.Replace(changes)
		_, slice := s.Objects()
		builder.SetSlice(slice)
		table, dirty, _ := builder.Build()
		if err := backend.Sync(b.Context(), table, dirty); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(kernel.restored)/float64(changes), "restored-B/op")
}
