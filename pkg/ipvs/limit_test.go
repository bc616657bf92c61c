package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// ranges gives a load balancer n source ranges.
func ranges(n int) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		for i := range n {
			svc.Spec.LoadBalancerSourceRanges = append(svc.Spec.LoadBalancerSourceRanges, fmt.Sprintf("%s/32", netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})))
		}
	}
}

func manyPorts(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("p%03d:%d", i, 1000+i))
	}
	return list
}

func TestAServiceWithTooManyEntriesIsServedInPart(t *testing.T) {
	s := newStage(t, service.IPv4)
	s.kernel.watch = nil // it looks at everything
	s.service("web", manyPorts(30), balancer(s), ranges(3500))
	s.slice("web", append(manyPorts(30), "a:8080"), "away1")
	s.service("api", []string{"81"}, balancer(s, "office"))
	s.slice("api", []string{"9090"}, "away2")
	s.sync()
	virtual, admitted := len(s.set(setVirtual)), len(s.set(setAdmitted))
	// A cluster IP costs 4, the load balancer's 4 and 3,500 source ranges: 18 ports fit.
	if virtual != 2*18+2 || admitted != 18*3500+1 {
		t.Errorf("%d frontends are served, %d ranges admitted", virtual, admitted)
	}
	want := []string{"web TooManySetEntries: ports not served: p018/tcp, p019/tcp, p020/tcp, p021/tcp, p022/tcp and 7 more; a Service can have 65536 entries in ipsets, " +
		"4 for each address of a port and one for each of its source ranges; use fewer ports, addresses or loadBalancerSourceRanges"}
	if diff := cmp.Diff(want, s.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	before := s.kernel.state()
	s.resync()
	s.restart()
	s.resync()
	if diff := cmp.Diff(before, s.kernel.state()); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	// The ports that are served again have not changed themselves.
	s.service("web", manyPorts(30), balancer(s), ranges(10))
	s.sync()
	if virtual := len(s.set(setVirtual)); virtual != 2*30+2 {
		t.Errorf("with few ranges, %d frontends are served", virtual)
	}
	s.service("web", append(manyPorts(29), "a:1=31000"), balancer(s), ranges(3500))
	s.sync()
	if !s.kernel.has(setVirtual, s.key("web,tcp:1")) {
		t.Error("the first of the ports is not served")
	}
	deleteService("web")(s)
	s.sync()
	if len(s.backend.leftOut) > 0 || len(s.set(setVirtual)) != 2 {
		t.Errorf("when the Service is gone, %d frontends are served", len(s.set(setVirtual)))
	}
}

// TestAFullSetFailsOnlyWhatDoesNotFit: one port needs more than there is room for, another just what is left.
func TestAFullSetFailsOnlyWhatDoesNotFit(t *testing.T) {
	s := newStage(t, service.IPv4)
	s.kernel.capacity = 1000
	s.service("web", []string{"a:80", "b:81", "c:82"}, balancer(s), ranges(400))
	s.slice("web", []string{"a:80", "b:81", "c:82"}, "away1")
	s.service("api", []string{"83"}, external(s, "ext"))
	s.slice("api", []string{"9090"}, "away2")
	table, dirty, _ := s.builder.Build()
	err := s.backend.Sync(t.Context(), table, dirty)
	unwritten, ok := errors.AsType[service.Unwritten](err)
	if !ok || len(unwritten) != 1 || !errors.Is(err, errFull) {
		t.Fatalf("got %v", err)
	}
	lists := s.kernel.lists
	for name := range unwritten {
		if name.Name != "web" || name.Port != "c" {
			t.Errorf("unwritten: %s", name)
		}
		if s.kernel.has(setVirtual, s.key("lb,tcp:82")) || !s.kernel.has(setVirtual, s.key("lb,tcp:81")) || !s.kernel.has(setVirtual, s.key("ext,tcp:83")) {
			t.Errorf("the others are not all served:\n%s", strings.Join(s.state(), "\n"))
		}
		// Room that another port gives back is used by the next Sync.
		s.service("web", []string{"a:80", "c:82"}, balancer(s), ranges(400))
		table, dirty, _ = s.builder.Build()
		dirty.Add(name)
		err = s.backend.Sync(context.Background(), table, dirty)
		if err != nil {
			err = s.backend.Sync(context.Background(), table, service.PortSet{name: {}})
		}
		must(t, err)
	}
	if len(s.set(setAdmitted)) != 800 || !s.kernel.has(setVirtual, s.key("lb,tcp:82")) || s.kernel.lists != lists {
		t.Errorf("%d ranges are admitted, %d reads of the kernel", len(s.set(setAdmitted)), s.kernel.lists-lists)
	}
}
