package churn

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// dualStack makes a Service with the n-th cluster IP of both families, as the API server wants it.
func dualStack(name string, n int, ports ...string) *corev1.Service {
	svc := site.DualStack(name, n, ports...)
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilyPolicy = &policy
	return svc
}

// endpointPorts makes the ports of a slice, written as those of servicetest.Slice.
func endpointPorts(ports ...string) []discoveryv1.EndpointPort {
	return servicetest.Slice("", "", ports).Ports
}

// putService creates a Service, or replaces the one of its name, with its status.
func (c *cluster) putService(ctx context.Context, svc *corev1.Service, create bool) error {
	services := c.client.CoreV1().Services(svc.Namespace)
	var stored *corev1.Service
	var err error
	if create {
		stored, err = services.Create(ctx, svc, metav1.CreateOptions{})
	} else {
		stored, err = services.Update(ctx, svc, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write Service %s: %w", svc.Name, err)
	}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	// Whoever makes the load balancer says so later, and so it is a change of its own.
	stored.Status.LoadBalancer = svc.Status.LoadBalancer
	if _, err := services.UpdateStatus(ctx, stored, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the status of Service %s: %w", svc.Name, err)
	}
	return nil
}

func (c *cluster) deleteService(ctx context.Context, name string) error {
	if err := c.client.CoreV1().Services(servicetest.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete Service %s: %w", name, err)
	}
	return nil
}

// putSlice brings a slice from one state to another; nil means that it is not there.
func (c *cluster) putSlice(ctx context.Context, was, is *discoveryv1.EndpointSlice) (err error) {
	slices := c.client.DiscoveryV1().EndpointSlices(servicetest.Namespace)
	switch {
	case is == nil:
		err = slices.Delete(ctx, was.Name, metav1.DeleteOptions{})
	case was == nil:
		_, err = slices.Create(ctx, is, metav1.CreateOptions{})
	default:
		_, err = slices.Update(ctx, is, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write EndpointSlice: %w", err)
	}
	return nil
}

func (c *cluster) createService(svc *corev1.Service) {
	c.t.Helper()
	if err := c.putService(c.t.Context(), svc, true); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) createSlice(slice *discoveryv1.EndpointSlice) {
	c.t.Helper()
	if err := c.putSlice(c.t.Context(), nil, slice); err != nil {
		c.t.Fatal(err)
	}
}
