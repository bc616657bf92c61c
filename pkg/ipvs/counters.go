package ipvs

import (
	"maps"

	moby "github.com/moby/ipvs"

	"github.com/fairlead/fairlead/pkg/service"
)

// statistics are the counters of a virtual server (struct ip_vs_stats_user). The kernel has 64 bits for each, and tells 32 of those of
// connections and packets in the attribute that is read.
type statistics struct {
	connections, packetsIn, packetsOut uint32
	bytesIn, bytesOut                  uint64
}

func statisticsOf(s moby.SvcStats) statistics {
	return statistics{s.Connections, s.PacketsIn, s.PacketsOut, s.BytesIn, s.BytesOut}
}

// since is what has come since earlier statistics of the same virtual server. Where the bytes are less, it is another one, or somebody has
// set the counters to zero; where only the rest is, that has overflowed.
func (s statistics) since(before statistics) service.Traffic {
	if s.bytesIn < before.bytesIn || s.bytesOut < before.bytesOut {
		before = statistics{}
	}
	return service.Traffic{
		Connections: uint64(s.connections - before.connections),
		PacketsIn:   uint64(s.packetsIn - before.packetsIn),
		PacketsOut:  uint64(s.packetsOut - before.packetsOut),
		BytesIn:     s.bytesIn - before.bytesIn,
		BytesOut:    s.bytesOut - before.bytesOut,
	}
}

// traffic adds up what virtual servers count, by service port. A port has several: one for each address that it answers on.
type traffic struct {
	off  bool
	last map[key]statistics                   // as last read; nil: not begun yet
	more map[service.PortName]service.Traffic // since the last call of TakeTraffic; nil: not read since then
}

// begin takes in what the kernel had counted before this process did anything, which does not count. It does nothing the next time.
func (t *traffic) begin(now map[key]statistics) {
	if !t.off && t.last == nil {
		t.last = maps.Clone(now)
		if t.last == nil {
			t.last = map[key]statistics{}
		}
	}
}

// read takes in what the kernel says.
func (t *traffic) read(now map[key]statistics, portAt func(key) (service.PortName, bool)) {
	if t.off || t.last == nil {
		return
	}
	if t.more == nil {
		t.more = map[service.PortName]service.Traffic{}
	}
	for k, s := range now {
		before := t.last[k]
		if s == before {
			continue
		}
		if port, ok := portAt(k); ok {
			t.more[port] = t.more[port].Plus(s.since(before))
		}
		t.last[k] = s
	}
	// A list can miss a virtual server (see kernelServers.List), which then must not count as new the next time.
	maps.DeleteFunc(t.last, func(k key, _ statistics) bool {
		_, listed := now[k]
		_, ours := portAt(k)
		return !listed && !ours
	})
}

// forget drops what is known of a virtual server that has been deleted or made: the new one begins at zero.
func (t *traffic) forget(k key) { delete(t.last, k) }

// portAt is the service port that a virtual server serves, at its own address or at its alias.
func (b *Backend) portAt(k key) (service.PortName, bool) {
	if owner, ok := b.aliases[k]; ok {
		k = owner
	}
	w := b.wishes[k]
	if w == nil || w.deleted {
		return service.PortName{}, false
	}
	return w.port.Name, true
}

// TakeTraffic returns what the virtual servers of each service port have counted since the last call, as of the last time that Verify
// listed them. It returns nil if it has not since then, or if nothing is counted.
func (b *Backend) TakeTraffic() *service.TrafficCounts {
	if b.traffic.more == nil {
		return nil
	}
	counts := &service.TrafficCounts{Ports: b.traffic.more, Packets: true}
	b.traffic.more = nil
	return counts
}
