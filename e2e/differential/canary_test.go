package differential

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

const (
	// canaryNamespace is where the canaries are.
	canaryNamespace = "canaries"
	// patience is the limit for kube-proxy to write its rules, and for one listing of them.
	patience = 180 * time.Second
)

// canary is a Service that is made after all others: kube-proxy has seen those when it answers. It has an endpoint in the zone
// of the Node and one elsewhere, so that kube-proxy knows its Node too when the answer is right.
type canary struct {
	service *corev1.Service
	slice   *discoveryv1.EndpointSlice
	probe   service.Packet
	want    chances
}

func newCanary(n int, family service.Family, flags cases.Flags) canary {
	address := fmt.Sprintf("10.100.%d.%d", n/256, n%256)
	here, there := netip.MustParseAddrPort("192.0.2.1:8080"), netip.MustParseAddrPort("192.0.2.2:8080")
	if family == service.IPv6 {
		address = fmt.Sprintf("fd00:10:96::f%03x", n)
		here, there = netip.MustParseAddrPort("[2001:db8::1]:8080"), netip.MustParseAddrPort("[2001:db8::2]:8080")
	}
	name := fmt.Sprintf("canary-%d-ipv%d", n, family)
	c := canary{service: servicetest.Service(name, address, "80"), slice: servicetest.Slice(name, name, []string{"8080"})}
	c.service.Namespace, c.slice.Namespace = canaryNamespace, canaryNamespace
	c.slice.AddressType = discoveryv1.AddressType(family.String())
	for i, zone := range []string{zoneOf(flags), "elsewhere"} {
		c.slice.Endpoints = append(c.slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{[]netip.AddrPort{here, there}[i].Addr().String()},
			Hints:     &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}},
		})
	}
	c.probe = service.Packet{Protocol: service.TCP, Source: cases.NodeAddresses(family)[0], FromNode: true,
		Destination: netip.AddrPortFrom(netip.MustParseAddr(address), 80)}
	c.want = chances{here.String(): 1}
	if flags.NoZone {
		c.want = chances{here.String(): 0.5, there.String(): 0.5}
	}
	return c
}

// zoneOf is the zone of the Node. Without one it is any that no Node is in.
func zoneOf(flags cases.Flags) string {
	if zone := flags.Node().Labels[corev1.LabelTopologyZone]; zone != "" {
		return zone
	}
	return "nowhere"
}

// answered reports whether the canary answers as it must.
func (c canary) answered(r *rules) (bool, error) {
	got, err := traced(r.parsed, r.family, c.probe)
	if err != nil {
		return false, err
	}
	// Whether it is masqueraded depends on the flags.
	endpoints := chances{}
	for what, chance := range got {
		endpoint, _, _ := strings.Cut(what, " ")
		endpoints[endpoint] += chance
	}
	return endpoints.differ(c.want) == "", nil
}

// synced makes a canary in each family and returns the rules when they have it.
func (c *cluster) synced(t *testing.T, flags cases.Flags) map[service.Family]*rules {
	t.Helper()
	c.canaries++
	all := map[service.Family]*rules{}
	for _, family := range families {
		canary := newCanary(c.canaries, family, flags)
		for _, o := range []cases.Object{canary.service, canary.slice} {
			if err := c.create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if all[family], err = c.await(t.Context(), canary, family); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// await reads the rules of a family again and again until a canary answers.
func (c *cluster) await(ctx context.Context, canary canary, family service.Family) (*rules, error) {
	for deadline := time.Now().Add(patience); ; {
		text, err := c.save(ctx, family)
		if err != nil {
			return nil, err
		}
		state := "its name is not in the rules"
		// Parsing takes longer than looking.
		if strings.Contains(text, canary.service.Name) {
			r, err := parseRules(family, text)
			if err != nil {
				return nil, err
			}
			if ok, err := canary.answered(r); ok || err != nil {
				return r, err
			}
			state = "its rules do not lead to its endpoints"
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("kube-proxy does not serve %s, %s, after %v: %s", canary.service.Name, family, patience, state)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.kubeProxy.Done():
			return nil, fmt.Errorf("kube-proxy has ended: %w", c.kubeProxy.Wait(ctx))
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s, %s: %w", canary.service.Name, family, ctx.Err())
		}
	}
}

// save lists the rules of a family. It has a deadline of its own, so that the error tells what took too long.
func (c *cluster) save(ctx context.Context, family service.Family) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("killed after %v", patience))
	defer cancel()
	text, err := c.xtables.save(ctx, family)
	if err != nil {
		err = fmt.Errorf("list the rules of %s: %w", family, errors.Join(err, context.Cause(ctx)))
	}
	return text, err
}
