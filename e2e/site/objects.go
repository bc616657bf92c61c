package site

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// ClusterIP is the n-th cluster IP of a family.
func ClusterIP(f lab.Family, n int) netip.Addr {
	if f == lab.IPv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:10:96::%x", n))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.96.0.%d", n))
}

// DualStack makes a Service with the n-th cluster IP of both families.
func DualStack(name string, n int, ports ...string) *corev1.Service {
	svc := servicetest.Service(name, ClusterIP(lab.IPv4, n).String(), ports...)
	svc.Spec.ClusterIPs = []string{ClusterIP(lab.IPv4, n).String(), ClusterIP(lab.IPv6, n).String()}
	return svc
}

// At is an endpoint for servicetest.Slice: a pod's address in one family, on its node.
func At(f lab.Family, pod, node *lab.Host) string {
	return pod.Address(f).String() + "@" + node.Name
}

// Slice makes the slice of one family for a Service, named after both. An empty one has a family too.
func Slice(f lab.Family, service string, port string, endpoints ...string) *discoveryv1.EndpointSlice {
	slice := servicetest.Slice(service, fmt.Sprintf("%s-%d", service, f), []string{port}, endpoints...)
	slice.AddressType = discoveryv1.AddressType(f.String())
	return slice
}
