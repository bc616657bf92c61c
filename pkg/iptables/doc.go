// Package iptables makes the node forward what a service.Table describes, by iptables rules.
//
// # The rules
//
// Virtual IPs are found by trees of chains over the destination address, then protocol and port, and node ports by a tree
// over the port (tree.go), so that neither a packet for a Service nor any other walks a list that grows with the number of
// Services. A Service port has a chain of its own that sends to its endpoints directly; many endpoints are a tree again
// (endpoints.go), and port.go has the other chains that a port may need. The fixed chains around them stand in static.go and
// filter.go:
//
//	nat     PREROUTING, OUTPUT     → FL-SERVICES → FL-CLUSTER-IPS, FL-EXTERNAL-IPS, FL-NODE-PORTS → … → FL-S-service
//	nat     POSTROUTING            → FL-POSTROUTING → FL-MASQUERADE, FL-HAIRPIN
//	filter  INPUT, FORWARD         → FL-INPUT, FL-FORWARD → FL-FILTER
//	filter  OUTPUT                 → FL-FILTER → FL-NO-ENDPOINTS, FL-NO-NODE-PORTS, FL-HEALTH-CHECKS
//
// # Writing them
//
// Every chain is rendered to the very text that iptables-save prints for it, and xtables.Ruleset writes those that differ from
// what the kernel holds. After a change only the chains are rendered that it can concern (sync.go).
package iptables
