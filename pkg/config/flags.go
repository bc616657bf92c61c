package config

import (
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/xtables"
)

// AddFlags adds a flag for each setting. Its default is the value in c.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "kubeconfig file with the address and the credentials of the API server; empty: connect as a pod of the cluster")
	fs.StringVar(&c.Master, "master", c.Master, "URL of the API server, overrides the one in --kubeconfig")
	c.Client.addFlags(fs)
	fs.StringVar(&c.Manifests, "manifests", c.Manifests, "folder of YAML files to read Services, EndpointSlices and a Node from, instead of an API server")
	fs.StringVar(&c.HostnameOverride, "hostname-override", c.HostnameOverride, "name of this node's Node object; empty: the host name")
	fs.DurationVar(&c.ConfigSyncPeriod, "config-sync-period", c.ConfigSyncPeriod, "ignored: watches need no periodic resync")
	fs.Var(&modeValue{mode: &c.Mode}, "proxy-mode", "how traffic is forwarded: "+oneOf(choices)+"; auto: the mode that already serves on this node if its kernel supports it, or else iptables")
	fs.StringVar(&c.ClusterCIDR, "cluster-cidr", c.ClusterCIDR, "pod addresses of the cluster, at most one range for each IP family, separated by a comma; traffic to cluster IPs from other addresses is masqueraded")
	fs.StringVar((*string)(&c.DetectLocalMode), "detect-local-mode", string(c.DetectLocalMode), "how pod traffic is distinguished from all other traffic: "+oneOf(detectLocalModes))
	fs.StringVar(&c.BridgeInterface, "pod-bridge-interface", c.BridgeInterface, "interface that packets from pods arrive on, for --detect-local-mode=BridgeInterface")
	fs.StringVar(&c.InterfacePrefix, "pod-interface-name-prefix", c.InterfacePrefix, "prefix of the names of the interfaces that packets from pods arrive on, for --detect-local-mode=InterfaceNamePrefix")
	fs.StringSliceVar(&c.NodePortAddresses, "nodeport-addresses", c.NodePortAddresses, "ranges of the node's addresses that node ports answer on, or \"primary\" for the addresses of the Node object, \"localhost\" and \"all\", in any mixture; empty: all")
	fs.StringVar((*string)(&c.MasqueradeAddress), "masquerade-address", string(c.MasqueradeAddress), "node address that masquerading uses: "+oneOf(masqueradeAddresses)+"; route: the address of the interface that the packet leaves by; internal-ip: the InternalIP of the Node object")
	fs.StringVar((*string)(&c.DropInvalid), "drop-invalid", string(c.DropInvalid), "whether forwarded packets in conntrack state INVALID are dropped: "+oneOf(dropInvalids)+"; auto: unless net.netfilter.nf_conntrack_tcp_be_liberal is set")
	fs.BoolVar(&c.ServiceCounters, "service-counters", c.ServiceCounters, "count the connections of each Service port, and its packets and bytes in ipvs mode, and serve the counts in /metrics")
	fs.BoolVar(&c.MasqueradeAll, "masquerade-all", c.MasqueradeAll, "masquerade all traffic to cluster IPs")
	c.IPTables.addFlags(fs)
	c.IPVS.addFlags(fs)
	c.Conntrack.addFlags(fs)
	c.HTTP.addFlags(fs)
	fs.IntVar(&c.OOMScoreAdj, "oom-score-adj", c.OOMScoreAdj, "oom_score_adj of the process, from -1000 (never killed) to 1000")
	c.addTakeOverFlags(fs)
}

func (c *IPTables) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Variant, "iptables-variant", c.Variant, "iptables programs to use: "+oneOf(xtables.Variants)+"; auto: the variant that the other programs on the node use")
	fs.IntVar(&c.MasqueradeBit, "iptables-masquerade-bit", c.MasqueradeBit, "bit of the packet mark that requests masquerading, 0 to 31, in all modes; no other program on the node may use it")
	fs.BoolVar(&c.LocalhostNodePorts, "iptables-localhost-nodeports", c.LocalhostNodePorts, "node ports answer on 127.0.0.1 too")
	fs.DurationVar(&c.SyncPeriod, "iptables-sync-period", c.SyncPeriod, "how often the rules in the kernel are compared with the desired ones")
	fs.DurationVar(&c.MinSyncPeriod, "iptables-min-sync-period", c.MinSyncPeriod, "minimum time from the end of one sync to the start of the next")
}

func (c *Conntrack) addFlags(fs *pflag.FlagSet) {
	fs.IntVar(&c.MaxPerCore, "conntrack-max-per-core", c.MaxPerCore, "number of connections that the kernel can track, for each CPU; 0: leave the limit alone. A higher limit is never lowered")
	fs.DurationVar(&c.TCPEstablished, "conntrack-tcp-timeout-established", c.TCPEstablished, "conntrack timeout of idle TCP connections; 0: leave it alone")
	fs.DurationVar(&c.TCPCloseWait, "conntrack-tcp-timeout-close-wait", c.TCPCloseWait, "conntrack timeout of TCP connections in state CLOSE_WAIT; 0: leave it alone")
	fs.DurationVar(&c.UDP, "conntrack-udp-timeout", c.UDP, "conntrack timeout of UDP without a reply; 0: leave it alone")
	fs.DurationVar(&c.UDPStream, "conntrack-udp-timeout-stream", c.UDPStream, "conntrack timeout of UDP with replies; 0: leave it alone")
	fs.BoolVar(&c.TCPBeLiberal, "conntrack-tcp-be-liberal", c.TCPBeLiberal, "accept TCP packets outside of their connection's window (nf_conntrack_tcp_be_liberal)")
	fs.BoolVar(&c.DeleteUnrepliedTCP, "conntrack-delete-unreplied-tcp", c.DeleteUnrepliedTCP, "delete conntrack entries of TCP connections to removed endpoints that were never answered, so that clients reconnect to another endpoint")
	fs.IntVar(&c.Min, "conntrack-min", c.Min, "minimum number of connections that the kernel can track, unless --conntrack-max-per-core is 0")
}
