//go:build ipvs && soak

package ipvs

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// unload removes a module that another test may have loaded.
func (s *stage) unload(module string) {
	s.t.Helper()
	s.Eventually("the module "+module+" is not in use", func() error {
		if err := unix.DeleteModule(module, unix.O_NONBLOCK); !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	})
}

// TestASchedulerThatIsNotThereIsNamedAndReplaced by the node's own, whether it is unknown or its module is missing.
func TestASchedulerThatIsNotThereIsNamedAndReplaced(t *testing.T) {
	s := newStage(t)
	here := s.Pod(s.node1, "here", 8080)
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{here, s.node1, ""})
	s.start()
	s.unload("ip_vs_sed")
	withoutModules(t)
	s.Write("unknown", annotated(site.DualStack("unknown", 11, webPorts...), service.AnnotationScheduler, "nosuch"))
	s.Write("missing", annotated(site.DualStack("missing", 12, webPorts...), service.AnnotationScheduler, "sed"))
	s.Write("another", site.DualStack("another", 13, webPorts...))
	for _, name := range []string{"unknown", "missing", "another"} {
		s.behind(name, endpoint{here, s.node1, ""})
	}
	for _, f := range lab.Families {
		for n := 10; n <= 13; n++ {
			for _, network := range []string{"tcp", "udp"} {
				s.served(s.client, network, netip.AddrPortFrom(site.ClusterIP(f, n), 80), here)
			}
		}
	}
	s.Says(`\"nosuch\" is not one of rr, wrr`)
	s.Says("the node's kernel has no IPVS scheduler sed, and rr is used instead; load the kernel module ip_vs_sed on the node")
	if state := strings.Join(s.kernel.mustState(), "\n"); strings.Contains(state, ": sed") {
		t.Errorf("there is a sed:\n%s", state)
	}
}
