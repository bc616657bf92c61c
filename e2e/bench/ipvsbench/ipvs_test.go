package ipvsbench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/e2e/bench"
)

// endpointsEach is how many endpoints every Service has.
const endpointsEach = 10

// BenchmarkIPVS measures all proxies with each number of Services.
func BenchmarkIPVS(b *testing.B) {
	for _, services := range sizes {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			proxies, err := chosen(*names)
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range proxies {
				warmUp(b, p)
			}
			all := make([][]figures, len(proxies))
			for b.Loop() {
				for i, p := range proxies {
					all[i] = append(all[i], measure(b, p, bench.NewCluster(services, endpointsEach)))
				}
			}
			b.ReportMetric(0, "ns/op") // it would be all that was waited for
			report(b, proxies, all)
		})
	}
}

// figures are what is measured of one proxy.
type figures struct {
	// loaded is from its start until the kernel held everything, and quiet until the proxy had nothing more to do.
	loaded, quiet, loadCPU time.Duration
	// change is from a change of one endpoint until the kernel showed it, as the median of all changes.
	change, changeCPU time.Duration
	// idleCPU is what it used per minute without a change.
	idleCPU time.Duration
	peak    int // resident memory in KiB
}

// warmUp runs a proxy once without measuring it, so that the first is not the only one to wait for the disk and for modules.
func warmUp(b *testing.B, p proxy) {
	b.Helper()
	r := newRig(b, bench.NewCluster(2, endpointsEach))
	r.start(p)
	r.awaitLoaded()
	r.awaitQuiet()
	r.stop()
}

// measure lets a proxy show all that it can do.
func measure(b *testing.B, p proxy, c bench.Cluster) (f figures) {
	b.Helper()
	r := newRig(b, c)
	r.start(p)
	logger := klog.Background().WithValues("proxy", p.name, "services", len(c))
	f.loaded = r.awaitLoaded()
	logger.Info("Loaded", "took", f.loaded)
	var end usage
	f.quiet, end = r.awaitQuiet()
	f.loadCPU = end.cpu
	logger.Info("Quiet", "took", f.quiet, "cpu", f.loadCPU)
	r.mustAnswer()
	f.change, f.changeCPU = r.changeEndpoints(*changes)
	logger.Info("Changed", "took", f.change, "cpu", f.changeCPU)
	f.idleCPU = time.Duration(float64(r.useFor(*idle)) / idle.Minutes())
	f.peak = r.usage().peak
	logger.Info("Idle", "cpuPerMinute", f.idleCPU, "peakKiB", f.peak)
	r.stop()
	return f
}

// columns are the figures as they are reported.
var columns = []struct {
	name, unit string
	of         func(figures) float64
}{
	{"loaded", "s", func(f figures) float64 { return f.loaded.Seconds() }},
	{"quiet", "s", func(f figures) float64 { return f.quiet.Seconds() }},
	{"load-CPU", "s", func(f figures) float64 { return f.loadCPU.Seconds() }},
	{"change", "ms", func(f figures) float64 { return milliseconds(f.change) }},
	{"change-CPU", "ms", func(f figures) float64 { return milliseconds(f.changeCPU) }},
	{"idle-CPU", "ms/min", func(f figures) float64 { return milliseconds(f.idleCPU) }},
	{"peak", "MiB", func(f figures) float64 { return float64(f.peak) / 1024 }},
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report gives the medians of all turns, and how many times as much the first proxy takes as each of the others.
func report(b *testing.B, proxies []proxy, all [][]figures) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\t")
	for _, p := range proxies {
		fmt.Fprintf(w, "%s\t", p.name)
	}
	for _, p := range proxies[1:] {
		fmt.Fprintf(w, "%s/%s\t", proxies[0].name, p.name)
	}
	for _, c := range columns {
		fmt.Fprintf(w, "\n%s (%s)\t", c.name, c.unit)
		values := make([]float64, len(proxies))
		for i, p := range proxies {
			values[i] = median(all[i], c.of)
			fmt.Fprintf(w, "%.2f\t", values[i])
			b.ReportMetric(values[i], fmt.Sprintf("%s-%s-%s", p.name, c.name, c.unit))
		}
		for i, p := range proxies[1:] {
			if values[i+1] == 0 { // less than can be seen
				fmt.Fprint(w, "-\t")
				continue
			}
			ratio := values[0] / values[i+1]
			fmt.Fprintf(w, "%.2f\t", ratio)
			b.ReportMetric(ratio, fmt.Sprintf("%s/%s-%s", proxies[0].name, p.name, c.name))
		}
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Logf("turns: %d\n%s", len(all[0]), table.String())
}

func median[T any](list []T, of func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = of(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
