package config

import (
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/xtables"
)

// AddFlags adds a flag for each setting. What is in c holds for a flag that is not given.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "file that says how to reach the API server; empty: as a pod of the cluster does")
	fs.StringVar(&c.Master, "master", c.Master, "URL of the API server, instead of the one in --kubeconfig")
	c.Client.addFlags(fs)
	fs.StringVar(&c.Manifests, "manifests", c.Manifests, "folder of YAML files to read Services, EndpointSlices and a Node from, instead of an API server")
	fs.StringVar(&c.HostnameOverride, "hostname-override", c.HostnameOverride, "name of this node's Node; empty: the host name")
	fs.DurationVar(&c.ConfigSyncPeriod, "config-sync-period", c.ConfigSyncPeriod, "how often kube-proxy looks at all objects again; without effect, as what the API server sends once cannot get lost")
	fs.Var(&modeValue{mode: &c.Mode}, "proxy-mode", "how traffic is forwarded: "+oneOf(Modes))
	fs.StringVar(&c.ClusterCIDR, "cluster-cidr", c.ClusterCIDR, "addresses of the cluster's pods, at most one range for each IP family, separated by a comma; traffic to a cluster IP from elsewhere is masqueraded")
	fs.StringVar((*string)(&c.DetectLocalMode), "detect-local-mode", string(c.DetectLocalMode), "how pods are told from everybody else: "+oneOf(detectLocalModes))
	fs.StringVar(&c.BridgeInterface, "pod-bridge-interface", c.BridgeInterface, "interface that packets of pods come in by, for --detect-local-mode=BridgeInterface")
	fs.StringVar(&c.InterfacePrefix, "pod-interface-name-prefix", c.InterfacePrefix, "what the names of interfaces begin with that packets of pods come in by, for --detect-local-mode=InterfaceNamePrefix")
	fs.StringSliceVar(&c.NodePortAddresses, "nodeport-addresses", c.NodePortAddresses, "ranges of the node's addresses that node ports answer on, and \"primary\" for those that its Node names; empty: all")
	fs.StringVar((*string)(&c.MasqueradeAddress), "masquerade-address", string(c.MasqueradeAddress), "which of the node's addresses masquerading uses: "+oneOf(masqueradeAddresses)+"; route: that of the interface a packet leaves by")
	fs.StringVar((*string)(&c.DropInvalid), "drop-invalid", string(c.DropInvalid), "whether forwarded packets that conntrack finds invalid are dropped: "+oneOf(dropInvalids)+"; auto: unless net.netfilter.nf_conntrack_tcp_be_liberal is set")
	fs.BoolVar(&c.MasqueradeAll, "masquerade-all", c.MasqueradeAll, "masquerade everything that goes to a cluster IP")
	c.IPTables.addFlags(fs)
	c.IPVS.addFlags(fs)
	c.Conntrack.addFlags(fs)
	c.HTTP.addFlags(fs)
	fs.IntVar(&c.OOMScoreAdj, "oom-score-adj", c.OOMScoreAdj, "how much the kernel spares this process when memory runs out, from -1000, never end it, to 1000")
	c.addTakeOverFlags(fs)
}

func (c *IPTables) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Variant, "iptables-variant", c.Variant, "which iptables programs to use: "+oneOf(xtables.Variants)+"; auto: those that the node's other programs use")
	fs.IntVar(&c.MasqueradeBit, "iptables-masquerade-bit", c.MasqueradeBit, "bit of the packet mark that asks for masquerading, 0 to 31, in every --proxy-mode; nothing else on the node may use it")
	fs.BoolVar(&c.LocalhostNodePorts, "iptables-localhost-nodeports", c.LocalhostNodePorts, "let node ports answer on 127.0.0.1 too")
	fs.DurationVar(&c.SyncPeriod, "iptables-sync-period", c.SyncPeriod, "how often the rules in the kernel are compared with what they should be")
	fs.DurationVar(&c.MinSyncPeriod, "iptables-min-sync-period", c.MinSyncPeriod, "least time from the end of one change of the rules to the start of the next")
}

func (c *Conntrack) addFlags(fs *pflag.FlagSet) {
	fs.IntVar(&c.MaxPerCore, "conntrack-max-per-core", c.MaxPerCore, "how many connections the kernel shall be able to track, for each CPU; 0: leave as it is. A higher limit is never lowered")
	fs.DurationVar(&c.TCPEstablished, "conntrack-tcp-timeout-established", c.TCPEstablished, "how long a TCP connection may be idle before the kernel forgets it; 0: leave as it is")
	fs.DurationVar(&c.TCPCloseWait, "conntrack-tcp-timeout-close-wait", c.TCPCloseWait, "the same, for one that is half closed; 0: leave as it is")
	fs.DurationVar(&c.UDP, "conntrack-udp-timeout", c.UDP, "the same, for UDP without an answer; 0: leave as it is")
	fs.DurationVar(&c.UDPStream, "conntrack-udp-timeout-stream", c.UDPStream, "the same, for UDP with answers; 0: leave as it is")
	fs.BoolVar(&c.TCPBeLiberal, "conntrack-tcp-be-liberal", c.TCPBeLiberal, "let TCP packets pass that are out of their connection's window")
	fs.BoolVar(&c.DeleteUnrepliedTCP, "conntrack-delete-unreplied-tcp", c.DeleteUnrepliedTCP, "forget attempts to connect to endpoints that are gone, so that they are made anew")
	fs.IntVar(&c.Min, "conntrack-min", c.Min, "how many connections the kernel shall be able to track at least, whatever --conntrack-max-per-core says")
}
