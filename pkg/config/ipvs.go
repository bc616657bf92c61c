package config

import (
	"math"
	"time"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/service"
)

// IPVS holds the settings of ipvs mode.
type IPVS struct {
	// Scheduler is one of service.Schedulers. A Service can override it by an annotation.
	Scheduler string
	// SyncPeriod is how often the kernel is compared with the desired state.
	SyncPeriod time.Duration
	// MinSyncPeriod is the minimum time from the end of one sync to the start of the next.
	MinSyncPeriod time.Duration
	// ExcludeCIDRs are ranges of addresses whose virtual servers are never deleted.
	ExcludeCIDRs []string
	// StrictARP makes each interface of the node answer ARP requests only for its own addresses. Virtual IPs are never answered.
	StrictARP bool
	// The timeouts of idle connections. 0 leaves them alone.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// DrainTimeout is how long a removed endpoint keeps its connections at most. 0 closes them at once.
	DrainTimeout time.Duration
	// MarkBit is the bit of the packet mark that routes packets for Services to IPVS.
	MarkBit int
}

// defaultIPVS has kube-proxy's defaults where kube-proxy has the setting. The mark bit is one that no common program uses: 14 and
// 15 are kube-proxy's and kubelet's, 13 is the CNI portmap plugin's, 8 to 11 are Cilium's and Istio's, 7 is the AWS VPC CNI's,
// and from 16 on they are Calico's and Tailscale's.
func defaultIPVS() IPVS {
	return IPVS{Scheduler: "rr", SyncPeriod: 30 * time.Second, DrainTimeout: time.Hour, MarkBit: 12}
}

func (c *IPVS) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Scheduler, "ipvs-scheduler", c.Scheduler, "IPVS scheduler of Services that do not choose one by an annotation: "+oneOf(service.Schedulers))
	fs.DurationVar(&c.SyncPeriod, "ipvs-sync-period", c.SyncPeriod, "how often the kernel is compared with the desired state in ipvs mode")
	fs.DurationVar(&c.MinSyncPeriod, "ipvs-min-sync-period", c.MinSyncPeriod, "minimum time from the end of one sync to the start of the next in ipvs mode")
	fs.StringSliceVar(&c.ExcludeCIDRs, "ipvs-exclude-cidrs", c.ExcludeCIDRs, "ranges of addresses whose IPVS virtual servers are never deleted")
	fs.BoolVar(&c.StrictARP, "ipvs-strict-arp", c.StrictARP, "answer ARP requests only for addresses of the interface that they arrive on; virtual IPs are never answered, with or without this")
	fs.DurationVar(&c.TCPTimeout, "ipvs-tcp-timeout", c.TCPTimeout, "timeout of idle TCP connections in IPVS; 0: leave it alone")
	fs.DurationVar(&c.TCPFinTimeout, "ipvs-tcpfin-timeout", c.TCPFinTimeout, "timeout of TCP connections in IPVS after a FIN; 0: leave it alone")
	fs.DurationVar(&c.UDPTimeout, "ipvs-udp-timeout", c.UDPTimeout, "timeout of UDP in IPVS; 0: leave it alone")
	fs.DurationVar(&c.DrainTimeout, "ipvs-drain-timeout", c.DrainTimeout, "how long a removed endpoint keeps its connections at most; 0: close them at once")
	fs.IntVar(&c.MarkBit, "ipvs-mark-bit", c.MarkBit, "bit of the packet mark that routes packets for Services to IPVS, 0 to 31, different from --iptables-masquerade-bit; no other program on the node may use it")
}

func (c *IPVS) validate(f *findings) {
	oneFrom(f, "ipvs-scheduler", c.Scheduler, service.Schedulers)
	periods(f, "ipvs", c.SyncPeriod, c.MinSyncPeriod)
	kernelTimeout(f, "ipvs-tcp-timeout", c.TCPTimeout)
	kernelTimeout(f, "ipvs-tcpfin-timeout", c.TCPFinTimeout)
	kernelTimeout(f, "ipvs-udp-timeout", c.UDPTimeout)
	notNegative(f, "ipvs-drain-timeout", c.DrainTimeout)
	markBit(f, "ipvs-mark-bit", c.MarkBit)
}

// longestTimeout is accepted by every kernel: timeouts are 31-bit numbers of ticks, at most 1000 per second.
const longestTimeout = math.MaxInt32 / 1000 * time.Second

// kernelTimeout checks a timeout of IPVS, which the kernel takes in whole seconds.
func kernelTimeout(f *findings, flag string, timeout time.Duration) {
	if timeout < 0 || timeout > longestTimeout || timeout%time.Second != 0 {
		f.add(flag, "%v is neither 0 nor a whole number of seconds from 1s to %v", timeout, longestTimeout)
	}
}
