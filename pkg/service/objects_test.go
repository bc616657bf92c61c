package service_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// withAddresses sets the second in which a Service was created, its external IPs and its load balancer's addresses.
func withAddresses(svc *corev1.Service, created int64, externalIPs []string, balancer ...string) *corev1.Service {
	svc.CreationTimestamp = metav1.NewTime(time.Unix(created, 0))
	svc.Spec.ExternalIPs = externalIPs
	for _, ip := range balancer {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	return svc
}
