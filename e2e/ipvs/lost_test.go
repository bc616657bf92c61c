//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

// TestLosingAllVirtualServersNeverLetsTheNodeAnswer does what ipvsadm -C does, while packets are led to IPVS.
func TestLosingAllVirtualServersNeverLetsTheNodeAnswer(t *testing.T) {
	s := newStage(t)
	s.openOutside()
	s.Serve(s.node1, 80)
	here := s.Pod(s.node1, "here", 8080)
	targets := map[lab.Family][]netip.AddrPort{}
	for n, policy := range []corev1.ServiceExternalTrafficPolicy{corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal} {
		name := "web-" + string(policy)
		svc, ips := balanced(name, 10+n, policy)
		for _, text := range ips {
			ip := netip.MustParseAddr(text)
			targets[familyOf(ip)] = append(targets[familyOf(ip)], netip.AddrPortFrom(ip, 80))
		}
		s.Write(name, svc)
		s.behind(name, endpoint{here, s.node1, ""})
	}
	s.start()
	before, err := s.kernel.servers()
	if err != nil || len(before) == 0 {
		t.Fatalf("there are virtual servers %v, error %v", before, err)
	}
	slices.Sort(before)
	w := s.watch(targets, here)
	w.answered()
	const losses = 4
	for range losses {
		s.kernel.do(s.kernel.ipvs.Flush)
		s.Eventually("the virtual servers are back", func() error {
			now, err := s.kernel.servers()
			slices.Sort(now)
			if diff := cmp.Diff(before, now); err == nil && diff != "" {
				return fmt.Errorf("the kernel has (-before +now):\n%s", diff)
			}
			return err
		})
		w.answered()
		w.asked(2)
	}
	wrong := w.end()
	for _, text := range wrong[:min(len(wrong), 10)] {
		t.Error(text)
	}
	t.Logf("the pod has answered: %v; others: %d times", w.heard, len(wrong))
}
