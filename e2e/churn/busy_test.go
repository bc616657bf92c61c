package churn

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// busyServices is how many Services change. Each has its own cluster IPs and node ports, as the API server would have it, but they
// share external addresses and pods.
const busyServices = 24

// busy is one Service that changes all the time, with its slices.
type busy struct {
	c    *cluster
	rand *rand.Rand
	pods []pod // that there are, of which it has some
	n    int

	service *corev1.Service // as it is in the API server; nil: it is not there
	slices  map[string]*discoveryv1.EndpointSlice
	has     []int // pods
}

// pod is an address that answers, and where it is.
type pod struct {
	lab.Addresses
	node *lab.Host
}

// at is the pod as an endpoint for site.Slice.
func (p pod) at(f lab.Family) string { return p.Address(f).String() + "@" + p.node.Name }

func newBusy(c *cluster, random *rand.Rand, pods []pod, n int) *busy {
	return &busy{c: c, rand: random, pods: pods, n: n, slices: map[string]*discoveryv1.EndpointSlice{}}
}

// firstBusyIP is the cluster IP of the first busy Service.
const firstBusyIP = 100

// change makes one random change. It can be several writes, as it would be if a controller made it.
func (b *busy) change(ctx context.Context) error {
	switch dice := b.rand.IntN(20); {
	case b.service == nil || b.headless():
		return b.recreate(ctx)
	case dice == 0:
		return b.remove(ctx)
	case dice == 1:
		return b.recreate(ctx)
	case dice < 7:
		svc := b.randomService(b.service.Name)
		b.service = svc
		return b.c.putService(ctx, svc, false)
	case dice < 11:
		return b.spread(ctx)
	default:
		b.choosePods()
		return b.spread(ctx)
	}
}

// headless Services cannot get a cluster IP other than by being made anew.
func (b *busy) headless() bool { return b.service.Spec.ClusterIP == corev1.ClusterIPNone }

func (b *busy) remove(ctx context.Context) error {
	name := b.service.Name
	b.service = nil
	return b.c.deleteService(ctx, name)
}

// recreate makes the Service anew, with the addresses and ports it had, under its old name or another one, and moves its slices
// there at once or leaves them to a later change.
func (b *busy) recreate(ctx context.Context) error {
	if b.service != nil {
		if err := b.remove(ctx); err != nil {
			return err
		}
	}
	b.service = b.randomService(fmt.Sprintf("busy-%d-%d", b.n, b.rand.IntN(2)))
	if b.rand.IntN(10) == 0 {
		b.service.Spec = corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone}, Ports: b.service.Spec.Ports}
		for i := range b.service.Spec.Ports {
			b.service.Spec.Ports[i].NodePort = 0
		}
	}
	if err := b.c.putService(ctx, b.service, true); err != nil {
		return err
	}
	if b.rand.IntN(2) == 0 {
		return b.spread(ctx)
	}
	return nil
}

// choosePods lets some pods go and takes some in.
func (b *busy) choosePods() {
	b.has = slices.DeleteFunc(b.has, func(int) bool { return b.rand.IntN(4) == 0 })
	more := b.rand.IntN(5)
	switch b.rand.IntN(20) {
	case 0:
		b.has = nil
	case 1:
		more = 30 + b.rand.IntN(30) // more than a chain lists one by one
	}
	for range more {
		b.has = append(b.has, b.rand.IntN(len(b.pods)))
	}
	slices.Sort(b.has)
	b.has = slices.Compact(b.has)
}

// spread deals the pods out over slices anew, which splits, merges and moves these, with new conditions, and writes them in no
// particular order: meanwhile a pod may stand in two slices or in none.
func (b *busy) spread(ctx context.Context) error {
	want := map[string]*discoveryv1.EndpointSlice{}
	for _, f := range lab.Families {
		places := []int{b.rand.IntN(3), b.rand.IntN(3), b.rand.IntN(3)}[:1+b.rand.IntN(3)]
		for _, i := range b.has {
			slice := b.slice(want, f, places[b.rand.IntN(len(places))])
			slice.Endpoints = append(slice.Endpoints, b.endpoint(f, b.pods[i]))
		}
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(want)), maps.Keys(b.slices))
	slices.Sort(names)
	names = slices.Compact(names)
	b.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if err := b.c.putSlice(ctx, b.slices[name], want[name]); err != nil {
			return err
		}
	}
	b.slices = want
	return nil
}

// slice returns one of the slices in want, new if it is not there. Now and then it is another Service's.
func (b *busy) slice(want map[string]*discoveryv1.EndpointSlice, f lab.Family, place int) *discoveryv1.EndpointSlice {
	name := fmt.Sprintf("busy-%d-%s-%d", b.n, map[lab.Family]string{lab.IPv4: "v4", lab.IPv6: "v6"}[f], place)
	if want[name] == nil {
		owner := fmt.Sprintf("busy-%d-%d", b.rand.IntN(busyServices), b.rand.IntN(2))
		if b.service != nil && b.rand.IntN(8) != 0 {
			owner = b.service.Name
		}
		want[name] = site.Slice(f, owner, "http:8080")
		want[name].Name = name
		want[name].Ports = busyEndpointPorts
	}
	return want[name]
}

func (b *busy) endpoint(f lab.Family, p pod) discoveryv1.Endpoint {
	yes, no := true, false
	e := discoveryv1.Endpoint{Addresses: []string{p.Address(f).String()}, NodeName: &p.node.Name}
	switch b.rand.IntN(12) {
	case 0:
		e.Conditions.Ready = &no
	case 1:
		e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
	case 2:
		e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &yes}
	}
	zone := "zone-of-" + p.node.Name
	e.Zone = &zone
	if b.n%4 == 0 && b.rand.IntN(10) != 0 {
		e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
	}
	return e
}
