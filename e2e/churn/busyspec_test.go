package churn

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// busyEndpointPorts are the ports of every busy slice, and busyPorts those of which a busy Service has some.
var (
	busyEndpointPorts = endpointPorts("http:8080", "https:8081", "dns:8080/UDP", "dns-tcp:8080", "sig:8080/SCTP")
	busyPorts         = []string{"http:80", "https:443", "dns:53/UDP", "dns-tcp:53", "sig:2905/SCTP"}
)

// busyExternal are the addresses that busy Services claim from each other. The last ones are the first node's own.
var busyExternal = []string{"192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2", "172.30.0.11", "fd00:30::11"}

// randomService makes a Service of a random kind, with the addresses and ports that are this one's own.
func (b *busy) randomService(name string) *corev1.Service {
	svc := dualStack(name, firstBusyIP+b.n)
	first := b.rand.IntN(len(busyPorts))
	svc.Spec.Ports = dualStack("", 0, busyPorts[first:first+1+b.rand.IntN(len(busyPorts)-first)]...).Spec.Ports
	switch b.rand.IntN(10) {
	case 0:
		// The API server takes its cluster IPs away.
		svc.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Ports: svc.Spec.Ports}
		return svc
	case 1, 2, 3:
		svc.Spec.Type = corev1.ServiceTypeNodePort
		b.public(svc, first)
	case 4, 5, 6:
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
		b.public(svc, first)
		b.balance(svc)
	}
	if b.rand.IntN(4) == 0 {
		single := corev1.IPFamilyPolicySingleStack
		svc.Spec.IPFamilyPolicy, svc.Spec.ClusterIPs = &single, svc.Spec.ClusterIPs[:1]
	}
	b.policies(svc)
	return svc
}

// public adds what Services with node ports have.
func (b *busy) public(svc *corev1.Service, firstPort int) {
	for i := range svc.Spec.Ports {
		svc.Spec.Ports[i].NodePort = int32(31000 + b.n*len(busyPorts) + firstPort + i)
	}
	if b.rand.IntN(2) == 0 {
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
}

// balance adds what Services with a load balancer have, of which not all has been made yet.
func (b *busy) balance(svc *corev1.Service) {
	if svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		svc.Spec.HealthCheckNodePort = int32(32000 + b.n)
	}
	for range b.rand.IntN(3) {
		mode := []corev1.LoadBalancerIPMode{corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy}[b.rand.IntN(5)/4]
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress,
			corev1.LoadBalancerIngress{IP: busyExternal[b.rand.IntN(len(busyExternal))], IPMode: &mode})
	}
	if b.rand.IntN(3) == 0 {
		svc.Spec.LoadBalancerSourceRanges = []string{fmt.Sprintf("172.30.%d.0/24", b.rand.IntN(3)), "fd00:30::/64", "203.0.113.0/24"}[b.rand.IntN(3):]
	}
	if b.rand.IntN(4) == 0 {
		no := false
		svc.Spec.AllocateLoadBalancerNodePorts = &no
	}
}

// policies adds some of what every Service can have.
func (b *busy) policies(svc *corev1.Service) {
	if b.rand.IntN(4) == 0 {
		local := corev1.ServiceInternalTrafficPolicyLocal
		svc.Spec.InternalTrafficPolicy = &local
	}
	if b.rand.IntN(3) == 0 {
		seconds := int32(1 + b.rand.IntN(20))
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	for range b.rand.IntN(3) {
		svc.Spec.ExternalIPs = append(svc.Spec.ExternalIPs, busyExternal[b.rand.IntN(len(busyExternal))])
	}
}
