//go:build ipvs

package ipvs

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// TestAVirtualIPMayBeTheNodesOwnAddress, and the node's other ports still answer there.
func TestAVirtualIPMayBeTheNodesOwnAddress(t *testing.T) {
	s := newStage(t)
	here := s.Pod(s.node1, "here", 8080)
	s.Serve(s.node1, 2222)
	web := site.DualStack("web", 10, webPorts...)
	web.Spec.ExternalIPs = []string{s.node1.IPv4.String(), s.node1.IPv6.String()}
	s.Write("web", web)
	s.behind("web", endpoint{here, s.node1, ""})
	s.start()
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			for _, network := range []string{"tcp", "udp"} {
				s.served(from, network, s.node1.AddrPort(f, 80), here)
				s.served(from, network, s.node1.AddrPort(f, 2222), s.node1)
			}
		}
	}
	s.remove("web")
	for _, f := range lab.Families {
		s.Eventually("the node's port is closed again", func() error {
			if answer, err := s.Outside.Ask(t.Context(), "tcp", s.node1.AddrPort(f, 80), lab.Timeout(lab.Silence)); err == nil {
				return errAnswered(answer)
			}
			return nil
		})
		s.served(s.Outside, "tcp", s.node1.AddrPort(f, 2222), s.node1)
	}
}
