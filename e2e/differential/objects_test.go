package differential

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/e2e/cases"
)

// spare counts ports from the end of the range of node ports: far from those of the cases, which begin at its start.
type spare struct{ taken atomic.Int32 }

func (s *spare) next() int32 { return 32768 - s.taken.Add(1) }

// create makes an object, with its status.
func (c *cluster) create(ctx context.Context, object cases.Object) error {
	switch o := object.DeepCopyObject().(type) {
	case *corev1.Service:
		return c.createService(ctx, o)
	case *discoveryv1.EndpointSlice:
		_, err := c.client.DiscoveryV1().EndpointSlices(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	return fmt.Errorf("%T is neither a Service nor an EndpointSlice", object)
}

func (c *cluster) createService(ctx context.Context, svc *corev1.Service) error {
	c.complete(svc)
	services := c.client.CoreV1().Services(svc.Namespace)
	made, err := services.Create(ctx, svc, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if len(svc.Status.LoadBalancer.Ingress) == 0 {
		return nil
	}
	made.Status = svc.Status
	if _, err = services.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		// It is not the Service that was wanted, so there is to be none.
		return errors.Join(err, services.Delete(ctx, svc.Name, metav1.DeleteOptions{}))
	}
	return nil
}

// complete sets what the API server would choose itself otherwise, or misses.
func (c *cluster) complete(svc *corev1.Service) {
	svc.Spec.IPFamilies = familiesOf(svc)
	policy := corev1.IPFamilyPolicySingleStack
	if len(svc.Spec.IPFamilies) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	svc.Spec.IPFamilyPolicy = &policy
	switch svc.Spec.Type {
	case corev1.ServiceTypeNodePort:
		for i := range svc.Spec.Ports {
			if p := &svc.Spec.Ports[i]; p.NodePort == 0 {
				p.NodePort = c.spare.next()
			}
		}
	case corev1.ServiceTypeLoadBalancer:
		svc.Spec.AllocateLoadBalancerNodePorts = new(bool)
		if svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && svc.Spec.HealthCheckNodePort == 0 {
			svc.Spec.HealthCheckNodePort = c.spare.next()
		}
	case corev1.ServiceTypeExternalName:
		// It must name something, and cannot have a cluster IP any more.
		svc.Spec.ExternalName = "example.com"
		svc.Spec.ClusterIP, svc.Spec.ClusterIPs, svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy = "", nil, nil, nil
	}
}

// familiesOf lists the families of a Service's cluster IPs. A headless one has none, and any family will do.
func familiesOf(svc *corev1.Service) (list []corev1.IPFamily) {
	for _, text := range svc.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Is6() {
			list = append(list, corev1.IPv6Protocol)
		} else {
			list = append(list, corev1.IPv4Protocol)
		}
	}
	return list
}

// remove deletes an object.
func (c *cluster) remove(ctx context.Context, object cases.Object) error {
	switch o := object.(type) {
	case *corev1.Service:
		return c.client.CoreV1().Services(o.Namespace).Delete(ctx, o.Name, metav1.DeleteOptions{})
	case *discoveryv1.EndpointSlice:
		return c.client.DiscoveryV1().EndpointSlices(o.Namespace).Delete(ctx, o.Name, metav1.DeleteOptions{})
	}
	return fmt.Errorf("%T is neither a Service nor an EndpointSlice", object)
}
