package tracer

import (
	"fmt"
	"strconv"
	"strings"
)

// protocolNumbers are the protocols known by name. The name with which
// iptables-save prints a number is in protocolNames.
var protocolNumbers = map[string]uint8{
	"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47,
	"esp": 50, "ah": 51, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "udplite": 136,
}

var protocolNames = map[uint8]string{
	1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre",
	50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp", 136: "udplite",
}

// anyProtocol is what "all" and 0 stand for.
const anyProtocol = 0

func parseProtocol(s string) (uint8, error) {
	name := strings.ToLower(s)
	if name == "all" {
		return anyProtocol, nil
	}
	if n, ok := protocolNumbers[name]; ok {
		return n, nil
	}
	n, err := parseNumber(s, 8)
	if err != nil {
		return 0, fmt.Errorf("unknown protocol %q", s)
	}
	return uint8(n), nil
}

func protocolName(n uint8) string {
	if name, ok := protocolNames[n]; ok {
		return name
	}
	return strconv.Itoa(int(n))
}

// hasPorts says whether the NAT and multiport extensions accept the protocol.
func hasPorts(n uint8) bool {
	switch protocolNames[n] {
	case "tcp", "udp", "udplite", "sctp", "dccp":
		return true
	}
	return false
}
