package ipvs

import (
	"math"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestStatisticsSinceEarlierOnes(t *testing.T) {
	before := statistics{10, 100, 90, 1000, 9000}
	for _, test := range []struct {
		name string
		now  statistics
		want service.Traffic
	}{
		{"more", statistics{11, 105, 94, 1200, 9900}, service.Traffic{Connections: 1, PacketsIn: 5, PacketsOut: 4, BytesIn: 200, BytesOut: 900}},
		{"the same", before, service.Traffic{}},
		{"another virtual server", statistics{1, 3, 2, 180, 120}, service.Traffic{Connections: 1, PacketsIn: 3, PacketsOut: 2, BytesIn: 180, BytesOut: 120}},
	} {
		if got := test.now.since(before); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
	before = statistics{connections: math.MaxUint32, packetsIn: math.MaxUint32 - 1, bytesIn: 1 << 40}
	if got, want := (statistics{connections: 1, packetsIn: 5, bytesIn: 1<<40 + 420}).since(before), (service.Traffic{Connections: 2, PacketsIn: 7, BytesIn: 420}); got != want {
		t.Errorf("after an overflow: got %+v, want %+v", got, want)
	}
}

func TestTrafficIsAddedUpByServicePort(t *testing.T) {
	one, two, theirs := key{service.TCP, netip.MustParseAddrPort("10.96.0.1:80")}, key{service.TCP, netip.MustParseAddrPort("192.0.2.1:30080")}, key{service.TCP, netip.MustParseAddrPort("192.0.2.9:1")}
	web := service.PortName{Name: "web"}
	portAt := func(k key) (service.PortName, bool) { return web, k != theirs }
	var tr traffic
	tr.read(map[key]statistics{one: {connections: 1}}, portAt)
	if tr.more != nil {
		t.Error("it counts before it has begun")
	}
	tr.begin(map[key]statistics{one: {connections: 100, bytesIn: 6000}})
	tr.begin(map[key]statistics{one: {connections: 200, bytesIn: 12000}}) // a full sync later on
	for _, step := range []struct {
		what string
		now  map[key]statistics
		want uint64
	}{
		{"those of an earlier process do not count", map[key]statistics{one: {connections: 103, bytesIn: 6180}}, 3},
		{"a second address, and another program's", map[key]statistics{one: {connections: 104, bytesIn: 6240}, two: {connections: 5, bytesIn: 300}, theirs: {connections: 9}}, 6},
		{"a list that misses one", map[key]statistics{two: {connections: 5, bytesIn: 300}}, 0},
		{"one that has it again", map[key]statistics{one: {connections: 105, bytesIn: 6300}, two: {connections: 6, bytesIn: 360}}, 2},
	} {
		tr.read(step.now, portAt)
		if diff := cmp.Diff(step.want, tr.more[web].Connections); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		tr.more = nil
	}
	tr.forget(one)
	tr.read(map[key]statistics{one: {connections: 2, bytesIn: 9000}}, portAt)
	if n := tr.more[web].Connections; n != 2 {
		t.Errorf("a virtual server that was deleted and made again: %d connections", n)
	}
	off := traffic{off: true}
	off.begin(nil)
	off.read(map[key]statistics{one: {connections: 2}}, portAt)
	if off.more != nil || off.last != nil {
		t.Error("it counts though it is not asked to")
	}
}
