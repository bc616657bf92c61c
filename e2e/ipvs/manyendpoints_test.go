//go:build ipvs && soak

package ipvs

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// TestMHForTooManyEndpointsHoldsUpNothing: the kernel refuses mh to a virtual server with more than 4,093 real servers, which anyone can ask for
// with a Service without a selector.
func TestMHForTooManyEndpointsHoldsUpNothing(t *testing.T) {
	s := newStage(t)
	here := s.Pod(s.node1, "here", 8080)
	const endpoints, inSlice = 4100, 1000
	var slices []runtime.Object
	for first := 0; first < endpoints; first += inSlice {
		var list []string
		for i := first; i < min(first+inSlice, endpoints); i++ {
			list = append(list, fmt.Sprintf("10.244.%d.%d@%s", 100+i/250, 1+i%250, s.node2.Name))
		}
		slices = append(slices, servicetest.Slice("big", fmt.Sprintf("big-%d", first), podPorts[:1], list...))
	}
	s.Write("behind-big", slices...)
	s.Write("big", annotated(site.DualStack("big", 10, webPorts[0]), service.AnnotationScheduler, "wrr"))
	s.start()
	s.Write("big", annotated(site.DualStack("big", 10, webPorts[0]), service.AnnotationScheduler, "mh"))
	s.Says("the IPVS scheduler mh is not for more than 4093 endpoints, and rr is used instead")
	// Others are served as they change, not by full syncs.
	for n := 11; n <= 13; n++ {
		name := fmt.Sprintf("other-%d", n)
		s.Write(name, site.DualStack(name, n, webPorts...))
		s.behind(name, endpoint{here, s.node1, ""})
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, n, 80), here)
		}
	}
	if state := strings.Join(s.kernel.mustState(), "\n"); strings.Contains(state, ": mh") {
		t.Error("there is an mh")
	}
	for _, text := range []string{"Could not sync", "Repairing"} {
		if n := s.Log.Count(text); n > 0 {
			t.Errorf("Fairlead says %q %d times", text, n)
		}
	}
}
