package service

// Traffic is what a service port had to do.
type Traffic struct {
	Connections                              uint64
	PacketsIn, PacketsOut, BytesIn, BytesOut uint64 // from clients and to them
}

// Plus adds two.
func (t Traffic) Plus(o Traffic) Traffic {
	return Traffic{
		t.Connections + o.Connections, t.PacketsIn + o.PacketsIn, t.PacketsOut + o.PacketsOut, t.BytesIn + o.BytesIn, t.BytesOut + o.BytesOut,
	}
}

// TrafficCounts is what the kernel has counted since it was last asked.
type TrafficCounts struct {
	// Ports has the service ports that had traffic.
	Ports map[PortName]Traffic
	// Packets: packets and bytes are counted, too. Otherwise only connections are.
	Packets bool
}
