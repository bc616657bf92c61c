package ipvs

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// cpuTime is how long this thread computes for something, whatever else the machine does.
func cpuTime(t *testing.T, do func()) time.Duration {
	t.Helper()
	runtime.GC() // what came before is not to be cleaned up in between
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_THREAD, &before))
	do()
	must(t, unix.Getrusage(unix.RUSAGE_THREAD, &after))
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// many gives dns n endpoints, in a state.
func many(s *stage, n int, state string) {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("10.%d.%d.%d@%s%s", 100+i>>16, i>>8&0xff, i&0xff, servicetest.OtherNode, state))
	}
	s.builder.SetSlice(servicetest.Slice("dns", "dns", []string{"5353/UDP"}, list...))
}

// endpointsTake is the time for n endpoints to come, to terminate while they serve, to drain, and to go.
func endpointsTake(t *testing.T, n int) map[string]time.Duration {
	s := newStage(t, service.IPv4)
	s.service("dns", dns)
	at := s.key("dns,udp:53")
	sync := func() func() {
		table, dirty, _ := s.builder.Build()
		return func() { must(t, s.backend.Sync(t.Context(), table, dirty)) }
	}
	took := map[string]time.Duration{}
	many(s, n, "")
	took["come"] = cpuTime(t, sync())
	for address, r := range s.kernel.servers[at].real {
		r.connections = 1
		s.kernel.servers[at].real[address] = r
	}
	many(s, n, " !ready terminating")
	s.builder.SetSlice(servicetest.Slice("dns", "more", []string{"5353/UDP"}, "10.99.0.1@"+servicetest.OtherNode))
	took["terminate"] = cpuTime(t, sync())
	took["drain"] = cpuTime(t, s.retire)
	many(s, 1, "")
	took["go"] = cpuTime(t, sync())
	if left := len(s.kernel.servers[at].real); left != 2 {
		t.Errorf("%d real servers are left", left)
	}
	return took
}

// rangesTake is the time for a Service to lose one of n source ranges.
func rangesTake(t *testing.T, n int) map[string]time.Duration {
	s := newStage(t, service.IPv4)
	s.service("web", http, balancer(s), ranges(n))
	s.slice("web", []string{"8080"}, "away1")
	s.sync()
	s.service("web", http, balancer(s), ranges(n-1))
	table, dirty, _ := s.builder.Build()
	took := map[string]time.Duration{"lose one": cpuTime(t, func() { must(t, s.backend.Sync(t.Context(), table, dirty)) })}
	if left := len(s.set(setAdmitted)); left != n-1 {
		t.Errorf("%d ranges are admitted", left)
	}
	return took
}

// TestTenTimesAsManyTakeNoMuchLongerThanTenTimes compares two sizes in one run. What is quadratic takes a hundred times.
func TestTenTimesAsManyTakeNoMuchLongerThanTenTimes(t *testing.T) {
	const most = 30
	for name, test := range map[string]struct {
		of   func(*testing.T, int) map[string]time.Duration
		size int
	}{"endpoints": {endpointsTake, 4000}, "source ranges": {rangesTake, 4000}} {
		t.Run(name, func(t *testing.T) {
			few := test.of(t, test.size)
			for doing, took := range test.of(t, 10*test.size) {
				t.Logf("%s: %s, with ten times as many %s", doing, few[doing], took)
				if took > most*max(few[doing], 10*time.Millisecond) { // the kernel counts in ticks
					t.Errorf("%s: %s, with ten times as many %s", doing, few[doing], took)
				}
			}
		})
	}
}
