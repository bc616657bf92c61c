// Package ipvs makes the node forward what a service.Table describes, by IPVS: the kernel's own load balancer.
//
// # What is in the kernel
//
// A frontend of a Service is a virtual server, and its endpoints are real servers behind it. IPVS looks only at packets that are for
// the node itself, and no virtual IP is: it would let every process of the node that listens on all addresses answer on every virtual
// IP (kubernetes#72236). Instead, packets whose address, port and protocol are in the set VIRTUAL get a mark, and a routing rule
// leads marked packets, and only these, to a table of our own in which virtual IPs are local (routing.go). So a port that no Service
// has does not exist on a virtual IP, an address that no Service has is none of the node's, and nobody answers ARP for either.
//
//	raw     PREROUTING          → FLV-PREROUTING: the mark
//	mangle  PREROUTING, OUTPUT  → FLV-PREROUTING, FLV-OUTPUT: who is admitted, and the mark of the node's own packets
//	mangle  INPUT, FORWARD      → FLV-INPUT, FLV-FORWARD: the mark has done its work
//	nat     PREROUTING, OUTPUT  → FLV-PREROUTING, FLV-OUTPUT: who is masqueraded, and who gets the second virtual server
//	nat     POSTROUTING         → FLV-POSTROUTING: masquerading
//	filter  INPUT, FORWARD      → FLV-INPUT, FLV-FORWARD → FLV-FILTER
//	filter  OUTPUT              → FLV-OUTPUT → FLV-FILTER: what is refused
//
// These rules are always the same: what changes with Services is in sets (sets.go).
//
// IPVS knows a virtual server by its address and port alone. Where a Service wants its external traffic local, pods and the node
// itself get another choice of endpoints than everybody else, and so a second virtual server, at an address of its own (alias.go).
// IPVS chooses their endpoint, and connection tracking carries the connection from its second packet on.
//
// # Writing it
//
// The kernel is read once, after a start, an error or drift, and compared with what should be. From then on a change writes what the
// changed service ports need, and nothing else is looked at. What is ours bears a mark that survives a restart: virtual servers one
// in their flags, sets and chains one in their names, routes one in their protocol.
//
// Packets are led to a virtual server after it stands, and no longer before it goes. That of a deleted Service stays as long as it has
// connections, and its clients are refused if these are cut (deleted.go).
package ipvs
