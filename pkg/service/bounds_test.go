package service_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	. "github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// processorTime is what a function takes at the least, on a machine that has other things to do.
func processorTime(do func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	best := time.Duration(math.MaxInt64)
	for range 3 {
		start := used()
		do()
		best = min(best, used()-start)
	}
	return best
}

// checkGrowth fails if ten times the work takes far more than ten times as long: linear work grows tenfold, quadratic a hundredfold.
func checkGrowth(t *testing.T, once, tenfold func()) {
	t.Helper()
	const most = 40
	small, large := max(processorTime(once), time.Millisecond), processorTime(tenfold)
	if large > most*small {
		t.Errorf("ten times the work takes %s instead of %s, which is more than %d times as long", large, small, most)
	}
	t.Logf("%s, and %s for ten times the work", small, large)
}

// build makes the Table of objects, then once more after a change to a slice, and returns all problems.
func build(objects ...any) []Problem {
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	add(b, objects...)
	_, _, problems := b.Build()
	for _, address := range []string{"10.244.1.1", "10.244.1.2"} {
		b.SetSlice(servicetest.Slice("web", "web-0", []string{"8080"}, address))
		_, _, more := b.Build()
		problems = append(problems, more...)
	}
	return problems
}

// checkBounds fails if more is said of each object than anybody can read.
func checkBounds(t *testing.T, problems []Problem, objects int) {
	t.Helper()
	const most, longest = 22, 1200 // of an object, and bytes
	if len(problems) == 0 || len(problems) > most*objects {
		t.Errorf("%d problems", len(problems))
	}
	for _, p := range problems {
		if size := len(p.String()); size > longest {
			t.Errorf("a problem has %d bytes: %.200s", size, p)
		}
	}
}

func TestLongAnnotationsAreCheap(t *testing.T) {
	var numbers strings.Builder
	for i := range 52000 {
		fmt.Fprintf(&numbers, "%x,", i)
	}
	tests := []struct{ name, annotation, value string }{
		{"weights that cannot be read", "ipvs-weights", numbers.String()},
		{"weights that fit nothing", "ipvs-weights", strings.Repeat("::=1,", 51200)},
		{"one very long weight", "ipvs-weights", strings.Repeat("\x01", 250_000)},
		{"flags that nobody knows", "ipvs-scheduler-flags", strings.Repeat("x,", 125_000)},
		{"one very long flag", "ipvs-scheduler-flags", strings.Repeat("\x01", 250_000)},
		{"one very long scheduler", "ipvs-scheduler", strings.Repeat("\x01", 250_000)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			objects := func(size int) []any {
				var endpoints []string
				for i := range 1000 {
					endpoints = append(endpoints, fmt.Sprintf("10.244.%d.%d", 2+i/250, i%250))
				}
				return []any{annotated(test.annotation + ": " + test.value[:size]), servicetest.Slice("web", "web-1", []string{"8080"}, endpoints...)}
			}
			small, large := objects(len(test.value)/10), objects(len(test.value))
			checkBounds(t, build(large...), 1)
			checkGrowth(t, func() { build(small...) }, func() { build(large...) })
		})
	}
}

func TestOnlyTheFirstHundredWeightsCount(t *testing.T) {
	value := strings.Repeat("10.244.9.9=3,", 99) + "10.244.1.1=5, 10.244.1.2=7"
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	add(b, annotated("ipvs-weights: "+value), webSlice())
	table, _, problems := b.Build()
	checkProblems(t, problems, []string{"Service default/web … 101 entries are too many … only the first 100 count"})
	if got, want := shares(table.Ports[0]), "5 0 0 0"; got != want {
		t.Errorf("weights %s, want %s", got, want)
	}
}

func TestTheProblemsOfOneObjectAreCounted(t *testing.T) {
	var addresses, endpoints []string
	for i := range 500 {
		addresses = append(addresses, fmt.Sprintf("127.0.%d.%d", i/250, i%250))
		endpoints = append(endpoints, fmt.Sprintf("127.1.%d.%d", i/250, i%250))
	}
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	add(b, with(servicetest.Service("web", "10.96.0.1", "80"), externalIPs(addresses...)), servicetest.Slice("web", "web-1", []string{"8080"}, endpoints...))
	_, _, problems := b.Build()
	want := slices.Concat(slices.Repeat([]string{"EndpointSlice default/web-1 … loopback"}, 10), []string{"EndpointSlice default/web-1 … and 490 more problems"},
		slices.Repeat([]string{"Service default/web"}, 10), []string{"Service default/web … and 490 more problems"})
	slices.SortFunc(problems, func(x, y Problem) int { return strings.Compare(order(x), order(y)) })
	checkProblems(t, problems, want)
}

// order puts the problem that counts others behind these.
func order(p Problem) string {
	return fmt.Sprint(p.Object, strings.HasPrefix(p.What, "and "), p.What)
}

// contenders makes Services that all claim one external IP, on all of their ports.
func contenders(services, ports int) (list []*corev1.Service) {
	var texts []string
	for p := range ports {
		texts = append(texts, fmt.Sprintf("p%d:%d", p, 1000+p))
	}
	for i := range services {
		svc := servicetest.Service(fmt.Sprintf("s%04d", i), fmt.Sprintf("10.97.%d.%d", i/250, i%250), texts...)
		list = append(list, withAddresses(svc, int64(5000-i), []string{"203.0.113.5"}))
	}
	return list
}

func TestContestedAddressesAreCheap(t *testing.T) {
	const services, ports = 2000, 20
	firstBuild := func(services int) (*Builder, []Problem) {
		b := NewBuilder(Options{Family: IPv4, Pods: pods})
		for _, svc := range contenders(services, ports) {
			b.SetService(svc)
		}
		_, _, problems := b.Build()
		return b, problems
	}
	b, problems := firstBuild(services)
	if len(problems) != services {
		t.Errorf("%d problems of %d Services", len(problems), services)
	}
	checkBounds(t, problems, services)
	holder := contenders(services, ports)[services-1] // the oldest
	holder.Spec.Ports = holder.Spec.Ports[:ports/2]
	b.SetService(holder)
	_, dirty, problems := b.Build()
	if len(problems) > 4 {
		t.Errorf("an edit of the holder leads to %d problems: %v", len(problems), problems)
	}
	if len(dirty) != ports {
		t.Errorf("an edit of the holder changes %d ports, want the %d that it gave up and as many of its successor", len(dirty), ports/2)
	}
	checkGrowth(t, func() { firstBuild(services / 10) }, func() { firstBuild(services) })
}

func TestTwoServicesThatShareManyAddressesHaveOneProblemEach(t *testing.T) {
	var addresses, ports []string
	for i := range 40 {
		addresses = append(addresses, fmt.Sprintf("203.0.113.%d", i))
		ports = append(ports, fmt.Sprintf("p%d:%d", i, 1000+i))
	}
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	add(b, withAddresses(servicetest.Service("a", "10.96.0.1", ports...), 1, addresses), withAddresses(servicetest.Service("b", "10.96.0.2", ports...), 2, addresses))
	_, _, problems := b.Build()
	checkProblems(t, problems, []string{
		"Service default/a … external IP 203.0.113.0:1000/tcp (and 1599 more) is also claimed by Service default/b, which does not get it",
		"Service default/b … external IP 203.0.113.0:1000/tcp (and 1599 more) belongs to Service default/a, which has it as its external IP",
	})
}

func TestManyPortsAreCheap(t *testing.T) {
	many := func(ports int) func() {
		var texts []string
		for p := range ports {
			texts = append(texts, fmt.Sprintf("p%d:%d", p, 1000+p))
		}
		svc, slice := servicetest.Service("web", "10.96.0.1", texts...), servicetest.Slice("web", "web-1", texts, "10.244.1.1")
		return func() { build(svc, slice) }
	}
	checkGrowth(t, many(1000), many(10_000))
}

func TestMoreListsOfZonesThanCanBeCountedMeanNoHints(t *testing.T) {
	slice := servicetest.Slice("web", "web-1", []string{"8080"})
	for i := range math.MaxUint16 + 2 {
		zones := []discoveryv1.ForZone{{Name: fmt.Sprint("zone-", i)}}
		address := fmt.Sprintf("10.%d.%d.%d", 200+i>>16, i>>8&255, i&255)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Hints: &discoveryv1.EndpointHints{ForZones: zones}})
	}
	ready := false // the first one that has no number; otherwise it would hide that the next one had the number of the first list
	slice.Endpoints[math.MaxUint16].Conditions.Ready = &ready
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	b.SetNode(OwnNode{Zone: "zone-0"})
	add(b, servicetest.Service("web", "10.96.0.1", "80"), slice)
	table, _, _ := b.Build()
	if got, want := len(table.Ports[0].Endpoints), len(slice.Endpoints)-1; got != want {
		t.Errorf("%d endpoints, want all %d that are ready", got, want)
	}
}
