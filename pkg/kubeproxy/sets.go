package kubeproxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// setNames are the ipsets of IPVS mode, those of IPv4.
var setNames = []string{
	"KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL",
	"KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL", "KUBE-LOAD-BALANCER-FW", "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR",
	setNodePortTCP, "KUBE-NODE-PORT-LOCAL-TCP", setNodePortUDP, "KUBE-NODE-PORT-LOCAL-UDP",
	"KUBE-NODE-PORT-SCTP", "KUBE-NODE-PORT-LOCAL-SCTP", setNodePortSCTP, "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
	"KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
}

// The sets of node ports.
const (
	setNodePortTCP  = "KUBE-NODE-PORT-TCP"
	setNodePortUDP  = "KUBE-NODE-PORT-UDP"
	setNodePortSCTP = "KUBE-NODE-PORT-SCTP-HASH"
)

// longestSetName is how long the name of a set may be: IPSET_MAXNAMELEN without the end of the string.
const longestSetName = 31

// setName is what a set is called in a family. What is too long, kube-proxy cuts off (NewIPSet in pkg/proxy/ipvs).
func setName(name string, family service.Family) string {
	if family == service.IPv6 {
		name = "KUBE-6-" + strings.TrimPrefix(name, "KUBE-")
		return name[:min(len(name), longestSetName)]
	}
	return name
}

// removeSets destroys kube-proxy's sets. The kernel keeps one that a rule still asks, which is no failure where rules are kept.
func removeSets(family service.Family, rulesKept bool) error {
	var failed []error
	for _, name := range setNames {
		name = setName(name, family)
		if err := netlink.IpsetDestroy(name); err != nil && !absent(err) && (!rulesKept || !asked(err)) {
			failed = append(failed, fmt.Errorf("destroy ipset %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// absent reports whether an error says that there is no such set, or no ipset at all.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, nl.IPSetError(unix.ENOENT))
}

// asked reports whether an error says that a rule asks the set.
func asked(err error) bool {
	return errors.Is(err, nl.IPSetError(nl.IPSET_ERR_BUSY)) || errors.Is(err, unix.Errno(nl.IPSET_ERR_BUSY))
}

// nodePorts reads the node ports of kube-proxy's IPVS mode.
func nodePorts(family service.Family) (map[service.Protocol]map[uint16]bool, error) {
	ports := map[service.Protocol]map[uint16]bool{}
	for name, protocol := range map[string]service.Protocol{setNodePortTCP: service.TCP, setNodePortUDP: service.UDP, setNodePortSCTP: service.SCTP} {
		ports[protocol] = map[uint16]bool{}
		name = setName(name, family)
		set, err := netlink.IpsetList(name)
		if err != nil {
			if absent(err) {
				continue
			}
			return nil, fmt.Errorf("list ipset %s: %w", name, err)
		}
		for _, e := range set.Entries {
			if e.Port != nil {
				ports[protocol][*e.Port] = true
			}
		}
	}
	return ports, nil
}
