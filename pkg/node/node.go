// Package node knows the node that Fairlead runs on.
package node

import (
	"os"

	"github.com/fairlead/fairlead/pkg/service"
)

// Families lists the IP families that the kernel of this node speaks. A node without IPv6 is served in IPv4 alone.
func Families() []service.Family {
	families := []service.Family{service.IPv4}
	// The file is absent where IPv6 is not built in or was switched off at boot (ipv6.disable=1).
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		families = append(families, service.IPv6)
	}
	return families
}
