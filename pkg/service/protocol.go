package service

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Protocol is a transport protocol that Services know, as its IANA protocol number.
type Protocol uint8

// The transport protocols of the Service API.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// Protocols lists all protocols of the Service API.
var Protocols = [...]Protocol{TCP, UDP, SCTP}

// ParseProtocol reads the API's spelling; an empty one means TCP, the API's default.
func ParseProtocol(p corev1.Protocol) (Protocol, error) {
	switch p {
	case "", corev1.ProtocolTCP:
		return TCP, nil
	case corev1.ProtocolUDP:
		return UDP, nil
	case corev1.ProtocolSCTP:
		return SCTP, nil
	}
	return 0, fmt.Errorf("protocol %s is none of TCP, UDP, SCTP", quoted(p))
}

// String returns the lower-case name, as iptables spells it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}
