package config

import (
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"
)

const kubeProxyKind = "KubeProxyConfiguration"

// setKubeProxy overrides the defaults in c by kube-proxy's document. As in kube-proxy, 0 and the empty string mean the default, except
// for fields that are pointers.
func (c *Config) setKubeProxy(k *v1alpha1.KubeProxyConfiguration) {
	override(&c.Mode, Mode(k.Mode))
	override(&c.HostnameOverride, k.HostnameOverride)
	overrideDuration(&c.ConfigSyncPeriod, k.ConfigSyncPeriod)
	overridePointer(&c.OOMScoreAdj, k.OOMScoreAdj)
	override(&c.DetectLocalMode, DetectLocalMode(k.DetectLocalMode))
	override(&c.BridgeInterface, k.DetectLocal.BridgeInterface)
	override(&c.InterfacePrefix, k.DetectLocal.InterfaceNamePrefix)
	override(&c.ClusterCIDR, k.ClusterCIDR)
	c.NodePortAddresses = k.NodePortAddresses
	override(&c.MasqueradeAll, k.IPTables.MasqueradeAll)
	c.setClientConnection(k)
	c.IPTables.setKubeProxy(&k.IPTables)
	c.IPVS.setKubeProxy(&k.IPVS)
	c.Conntrack.setKubeProxy(&k.Conntrack)
	c.HTTP.setKubeProxy(k)
	c.Logging.setKubeProxy(&k.Logging)
}

func override[T comparable](to *T, from T) {
	var zero T
	if from != zero {
		*to = from
	}
}

func overrideDuration(to *time.Duration, from metav1.Duration) { override(to, from.Duration) }

func overridePointer(to *int, from *int32) {
	if from != nil {
		*to = int(*from)
	}
}

func (c *Config) setClientConnection(k *v1alpha1.KubeProxyConfiguration) {
	from := &k.ClientConnection
	override(&c.Kubeconfig, from.Kubeconfig)
	override(&c.Client.ContentType, from.ContentType)
	override(&c.Client.AcceptContentTypes, from.AcceptContentTypes)
	override(&c.Client.QPS, from.QPS)
	override(&c.Client.Burst, int(from.Burst))
}

func (c *IPTables) setKubeProxy(k *v1alpha1.KubeProxyIPTablesConfiguration) {
	overridePointer(&c.MasqueradeBit, k.MasqueradeBit)
	if k.LocalhostNodePorts != nil {
		c.LocalhostNodePorts = *k.LocalhostNodePorts
	}
	overrideDuration(&c.SyncPeriod, k.SyncPeriod)
	overrideDuration(&c.MinSyncPeriod, k.MinSyncPeriod)
}

func (c *IPVS) setKubeProxy(k *v1alpha1.KubeProxyIPVSConfiguration) {
	override(&c.Scheduler, k.Scheduler)
	overrideDuration(&c.SyncPeriod, k.SyncPeriod)
	overrideDuration(&c.MinSyncPeriod, k.MinSyncPeriod)
	c.ExcludeCIDRs = k.ExcludeCIDRs
	c.StrictARP = k.StrictARP
	overrideDuration(&c.TCPTimeout, k.TCPTimeout)
	overrideDuration(&c.TCPFinTimeout, k.TCPFinTimeout)
	overrideDuration(&c.UDPTimeout, k.UDPTimeout)
}

func (c *Conntrack) setKubeProxy(k *v1alpha1.KubeProxyConntrackConfiguration) {
	overridePointer(&c.MaxPerCore, k.MaxPerCore)
	overridePointer(&c.Min, k.Min)
	if k.TCPEstablishedTimeout != nil {
		c.TCPEstablished = k.TCPEstablishedTimeout.Duration
	}
	if k.TCPCloseWaitTimeout != nil {
		c.TCPCloseWait = k.TCPCloseWaitTimeout.Duration
	}
	c.TCPBeLiberal = k.TCPBeLiberal
	overrideDuration(&c.UDP, k.UDPTimeout)
	overrideDuration(&c.UDPStream, k.UDPStreamTimeout)
}

// setKubeProxy chooses the IP family of the default addresses by bindAddress, as kube-proxy does.
func (c *HTTP) setKubeProxy(k *v1alpha1.KubeProxyConfiguration) {
	if addr, err := netip.ParseAddr(k.BindAddress); err == nil && !addr.Unmap().Is4() {
		c.HealthzBindAddress, c.MetricsBindAddress = defaultAddress("::", HealthzPort), defaultAddress("::1", MetricsPort)
	}
	override(&c.HealthzBindAddress, withPort(k.HealthzBindAddress, HealthzPort))
	override(&c.MetricsBindAddress, withPort(k.MetricsBindAddress, MetricsPort))
	c.BindAddressHardFail = k.BindAddressHardFail
	c.Profiling = k.EnableProfiling
}

// KubeProxy returns all settings that kube-proxy has, as its document.
func (c *Config) KubeProxy() *v1alpha1.KubeProxyConfiguration {
	k := &v1alpha1.KubeProxyConfiguration{
		TypeMeta:         metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: kubeProxyKind},
		HostnameOverride: c.HostnameOverride, BindAddress: "0.0.0.0",
		HealthzBindAddress: c.HTTP.HealthzBindAddress, MetricsBindAddress: c.HTTP.MetricsBindAddress,
		BindAddressHardFail: c.HTTP.BindAddressHardFail, EnableProfiling: c.HTTP.Profiling,
		Mode:            v1alpha1.ProxyMode(c.Mode),
		DetectLocalMode: v1alpha1.LocalMode(c.DetectLocalMode),
		DetectLocal:     v1alpha1.DetectLocalConfiguration{BridgeInterface: c.BridgeInterface, InterfaceNamePrefix: c.InterfacePrefix},
		ClusterCIDR:     c.ClusterCIDR, NodePortAddresses: c.NodePortAddresses,
		OOMScoreAdj: pointer32(c.OOMScoreAdj), ConfigSyncPeriod: duration(c.ConfigSyncPeriod),
		IPTables: v1alpha1.KubeProxyIPTablesConfiguration{
			MasqueradeBit: pointer32(c.IPTables.MasqueradeBit), MasqueradeAll: c.MasqueradeAll,
			LocalhostNodePorts: ptr.To(c.IPTables.LocalhostNodePorts),
			SyncPeriod:         duration(c.IPTables.SyncPeriod), MinSyncPeriod: duration(c.IPTables.MinSyncPeriod),
		},
		IPVS: v1alpha1.KubeProxyIPVSConfiguration{
			Scheduler: c.IPVS.Scheduler, SyncPeriod: duration(c.IPVS.SyncPeriod), MinSyncPeriod: duration(c.IPVS.MinSyncPeriod),
			ExcludeCIDRs: c.IPVS.ExcludeCIDRs, StrictARP: c.IPVS.StrictARP,
			TCPTimeout: duration(c.IPVS.TCPTimeout), TCPFinTimeout: duration(c.IPVS.TCPFinTimeout), UDPTimeout: duration(c.IPVS.UDPTimeout),
		},
		Conntrack: v1alpha1.KubeProxyConntrackConfiguration{
			MaxPerCore: pointer32(c.Conntrack.MaxPerCore), Min: pointer32(c.Conntrack.Min),
			TCPEstablishedTimeout: ptr.To(duration(c.Conntrack.TCPEstablished)), TCPCloseWaitTimeout: ptr.To(duration(c.Conntrack.TCPCloseWait)),
			TCPBeLiberal: c.Conntrack.TCPBeLiberal, UDPTimeout: duration(c.Conntrack.UDP), UDPStreamTimeout: duration(c.Conntrack.UDPStream),
		},
	}
	k.ClientConnection.Kubeconfig = c.Kubeconfig
	k.ClientConnection.ContentType, k.ClientConnection.AcceptContentTypes = c.Client.ContentType, c.Client.AcceptContentTypes
	k.ClientConnection.QPS, k.ClientConnection.Burst = c.Client.QPS, int32(c.Client.Burst)
	k.Logging = c.Logging.kubeProxy()
	return k
}

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

func pointer32(n int) *int32 { return ptr.To(int32(n)) }
