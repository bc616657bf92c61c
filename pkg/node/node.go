// Package node knows the node that Fairlead runs on.
package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// Families lists the IP families that the kernel of this node speaks, and so those in which Fairlead may have written something.
func Families() []service.Family { return families("/") }

func families(root string) []service.Family {
	list := []service.Family{service.IPv4}
	// The file is absent where IPv6 is not built in or was switched off at boot (ipv6.disable=1).
	if _, err := os.Stat(filepath.Join(root, "proc/net/if_inet6")); err == nil {
		list = append(list, service.IPv6)
	}
	return list
}

// ServedFamilies lists the IP families that this node can serve. A node without IPv6 is served in IPv4 alone.
func ServedFamilies() []service.Family { return servedFamilies("/") }

func servedFamilies(root string) []service.Family {
	list := families(root)
	if len(list) > 1 && ipv6Disabled(root) {
		list = list[:1]
	}
	return list
}

// ipv6Disabled reports whether IPv6 is off on every interface, and on those to come, as net.ipv6.conf.all.disable_ipv6=1 has it. The
// kernel then receives no IPv6 packet, and refuses the local routes of IPVS mode. One interface may have been turned on again.
func ipv6Disabled(root string) bool {
	files, err := filepath.Glob(filepath.Join(root, "proc/sys/net/ipv6/conf/*/disable_ipv6"))
	if err != nil || len(files) == 0 {
		return false
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // the interface has gone
		}
		if err != nil || strings.TrimSpace(string(text)) != "1" {
			return false
		}
	}
	return true
}
