package kubeproxy

import (
	"strings"
)

// entries are kube-proxy's chains that its own rules lead to from built-in chains.
var entries = map[string]bool{
	"KUBE-SERVICES": true, "KUBE-EXTERNAL-SERVICES": true, "KUBE-NODEPORTS": true, "KUBE-FORWARD": true, "KUBE-PROXY-FIREWALL": true,
	"KUBE-POSTROUTING": true,
	// Of IPVS mode:
	"KUBE-NODE-PORT": true, "KUBE-SOURCE-RANGES-FIREWALL": true, "KUBE-IPVS-FILTER": true, "KUBE-IPVS-OUT-FILTER": true,
}

// others are its other chains with names that never change.
var others = map[string]bool{"KUBE-MARK-MASQ": true, "KUBE-PROXY-CANARY": true, "KUBE-LOAD-BALANCER": true}

// shared are those that a kubelet before 1.28 made too (KEP-3178). That they are there says nothing about a kube-proxy.
var shared = map[string]bool{"KUBE-MARK-MASQ": true, "KUBE-POSTROUTING": true}

// hashed begin the names of those that each Service or endpoint has; a hash follows.
var hashed = []string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-XLB-", "KUBE-FW-"}

// hashLength is how long the hash is, in base32.
const hashLength = 16

// isChain reports whether a chain is one of kube-proxy's. KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY and KUBE-IPTABLES-HINT are
// kubelet's, and other programs use the prefix too (kube-router).
func isChain(name string) bool {
	if entries[name] || others[name] {
		return true
	}
	for _, prefix := range hashed {
		if hash, is := strings.CutPrefix(name, prefix); is {
			return isHash(hash)
		}
	}
	return false
}

func isHash(text string) bool {
	if len(text) != hashLength {
		return false
	}
	for _, c := range text {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
