package config

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/service"
)

// IPVS is what can be set for ipvs mode.
type IPVS struct {
	// Scheduler is one of service.Schedulers: that of Services that do not name one themselves.
	Scheduler     string
	SyncPeriod    time.Duration
	MinSyncPeriod time.Duration
	// ExcludeCIDRs are ranges of addresses in which virtual servers are never deleted. See Excluded.
	ExcludeCIDRs []string
	// StrictARP: an interface of the node answers ARP for its own addresses alone. Virtual IPs are never answered for anyway.
	StrictARP bool
	// Timeouts of idle connections; 0: leave as they are.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// DrainTimeout is how long an endpoint that is gone keeps the connections it has, at most; 0: they are cut at once.
	DrainTimeout time.Duration
	// MarkBit is the bit of the packet mark that leads packets for Services to IPVS.
	MarkBit int
}

// defaultIPVS is as kube-proxy has it, where kube-proxy has it. The mark bit is one that none of the usual others uses: 14 and
// 15 are kube-proxy's and kubelet's, 13 is the CNI portmap plugin's, 8 to 11 are Cilium's and Istio's, 7 is the AWS VPC CNI's,
// and from 16 on they are Calico's and Tailscale's.
func defaultIPVS() IPVS {
	return IPVS{Scheduler: "rr", SyncPeriod: 30 * time.Second, DrainTimeout: time.Hour, MarkBit: 12}
}

func (c *IPVS) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Scheduler, "ipvs-scheduler", c.Scheduler, "how IPVS spreads the connections of Services that do not say it themselves: "+oneOf(service.Schedulers))
	fs.DurationVar(&c.SyncPeriod, "ipvs-sync-period", c.SyncPeriod, "how often what the kernel holds is compared with what it should hold, in ipvs mode")
	fs.DurationVar(&c.MinSyncPeriod, "ipvs-min-sync-period", c.MinSyncPeriod, "least time from the end of one change to the start of the next, in ipvs mode")
	fs.StringSliceVar(&c.ExcludeCIDRs, "ipvs-exclude-cidrs", c.ExcludeCIDRs, "ranges of addresses in which IPVS virtual servers are never deleted")
	fs.BoolVar(&c.StrictARP, "ipvs-strict-arp", c.StrictARP, "answer ARP only for addresses of the interface that it came in by. Virtual IPs are never answered for, with or without this")
	fs.DurationVar(&c.TCPTimeout, "ipvs-tcp-timeout", c.TCPTimeout, "how long a TCP connection may be idle before IPVS forgets it; 0: leave as it is")
	fs.DurationVar(&c.TCPFinTimeout, "ipvs-tcpfin-timeout", c.TCPFinTimeout, "the same, for one whose end has been seen; 0: leave as it is")
	fs.DurationVar(&c.UDPTimeout, "ipvs-udp-timeout", c.UDPTimeout, "the same, for UDP; 0: leave as it is")
	fs.DurationVar(&c.DrainTimeout, "ipvs-drain-timeout", c.DrainTimeout, "how long an endpoint that is gone keeps the connections it has, at most; 0: they are cut at once")
	fs.IntVar(&c.MarkBit, "ipvs-mark-bit", c.MarkBit, "bit of the packet mark that leads packets for Services to IPVS, 0 to 31, another one than --iptables-masquerade-bit; nothing else on the node may use it")
}

// Excluded reads the ranges in which virtual servers are never deleted, of both families.
func (c *IPVS) Excluded() ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range c.ExcludeCIDRs {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not a range of addresses such as 192.0.2.0/24", text)
		}
		ranges = append(ranges, prefix.Masked())
	}
	return ranges, nil
}

func (c *IPVS) validate(f *findings) {
	oneFrom(f, "ipvs-scheduler", c.Scheduler, service.Schedulers)
	periods(f, "ipvs", c.SyncPeriod, c.MinSyncPeriod)
	if _, err := c.Excluded(); err != nil {
		f.add("ipvs-exclude-cidrs", "%w", err)
	}
	kernelTimeout(f, "ipvs-tcp-timeout", c.TCPTimeout)
	kernelTimeout(f, "ipvs-tcpfin-timeout", c.TCPFinTimeout)
	kernelTimeout(f, "ipvs-udp-timeout", c.UDPTimeout)
	notNegative(f, "ipvs-drain-timeout", c.DrainTimeout)
	markBit(f, "ipvs-mark-bit", c.MarkBit)
}

// longestTimeout is what every kernel takes: it counts timeouts in ticks, of which a second has 1000 at most, in 31 bits.
const longestTimeout = math.MaxInt32 / 1000 * time.Second

// kernelTimeout checks a timeout of IPVS, which is set in whole seconds.
func kernelTimeout(f *findings, flag string, timeout time.Duration) {
	if timeout < 0 || timeout > longestTimeout || timeout%time.Second != 0 {
		f.add(flag, "%v is not a whole number of seconds from 1s to %v, nor 0", timeout, longestTimeout)
	}
}
