package churn

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

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
	write := func() error { _, err := services.Update(ctx, svc, metav1.UpdateOptions{}); return err }
	done := never
	if create {
		write = func() error { _, err := services.Create(ctx, svc, metav1.CreateOptions{}); return err }
		done = apierrors.IsAlreadyExists
	}
	if err := persist(write, done); err != nil {
		return fmt.Errorf("write Service %s: %w", svc.Name, err)
	}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	// Whoever makes the load balancer says so later, and so it is a change of its own.
	write = func() error { _, err := services.UpdateStatus(ctx, svc, metav1.UpdateOptions{}); return err }
	if err := persist(write, never); err != nil {
		return fmt.Errorf("write the status of Service %s: %w", svc.Name, err)
	}
	return nil
}

func (c *cluster) deleteService(ctx context.Context, name string) error {
	services := c.client.CoreV1().Services(servicetest.Namespace)
	if err := persist(func() error { return services.Delete(ctx, name, metav1.DeleteOptions{}) }, apierrors.IsNotFound); err != nil {
		return fmt.Errorf("delete Service %s: %w", name, err)
	}
	return nil
}

// putSlice brings a slice from one state to another; nil means that it is not there.
func (c *cluster) putSlice(ctx context.Context, was, is *discoveryv1.EndpointSlice) error {
	slices := c.client.DiscoveryV1().EndpointSlices(servicetest.Namespace)
	write := func() error { _, err := slices.Update(ctx, is, metav1.UpdateOptions{}); return err }
	done := never
	switch {
	case is == nil:
		write = func() error { return slices.Delete(ctx, was.Name, metav1.DeleteOptions{}) }
		done = apierrors.IsNotFound
	case was == nil:
		write = func() error { _, err := slices.Create(ctx, is, metav1.CreateOptions{}); return err }
		done = apierrors.IsAlreadyExists
	}
	if err := persist(write, done); err != nil {
		return fmt.Errorf("write EndpointSlice: %w", err)
	}
	return nil
}

// persist writes, and does so again where the API server has no time for it: that says nothing about a proxy. An attempt that the
// server gave up may have gone through all the same, which done recognizes by the error of the next one.
func persist(write func() error, done func(error) bool) error {
	attempts := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 7}
	again := false
	return retry.OnError(attempts, overloaded, func() error {
		err := write()
		if again && done(err) {
			return nil
		}
		again = true
		return err
	})
}

func overloaded(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err)
}

// never is for writes that may be done twice.
func never(error) bool { return false }

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
