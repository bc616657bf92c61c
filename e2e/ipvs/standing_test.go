//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
)

func TestAStandingConnectionOutlivesItsEndpoint(t *testing.T) {
	s, one, two := webStage(t)
	conns := s.standing()
	steps := []struct {
		name    string
		do      func()
		servers []*lab.Host // of new connections; nil: they are refused
	}{
		{"it is terminating", func() {
			s.behind("web", endpoint{one, s.node1, "!ready terminating"}, endpoint{two, s.node2, ""})
		}, []*lab.Host{two}},
		{"it is gone", func() { s.behind("web", endpoint{two, s.node2, ""}) }, []*lab.Host{two}},
		{"Fairlead is killed and comes back", func() { s.Stop(syscall.SIGKILL); s.start() }, []*lab.Host{two}},
		{"the last endpoint goes", func() { s.behind("web") }, nil},
		{"the Service has an endpoint again", func() { s.behind("web", endpoint{two, s.node2, ""}) }, []*lab.Host{two}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			s.everywhere(func(from *lab.Host, to netip.AddrPort) {
				if step.servers == nil {
					s.refused(from, to)
					return
				}
				s.served(from, "tcp", to, step.servers...)
			})
			s.weighs("tcp", one, 0)
			for name, conn := range conns {
				if err := conn.Echo(t.Context(), step.name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	s.weighs("tcp", one, -1)
}

// refused waits until a new connection is refused before its first packet is sent again; over IPv6, before the second time: where all hosts
// are on one machine, a client's kernel may miss the first refusal (see AskPromptly of package lab).
func (s *stage) refused(from *lab.Host, to netip.AddrPort) {
	s.t.Helper()
	resent := 0
	if to.Addr().Is6() {
		resent = 1
	}
	s.Eventually(fmt.Sprintf("%s refuses %s at once", to, from.Name), func() error {
		answer, err := from.Ask(s.t.Context(), "tcp", to, lab.Reset(), lab.Timeout(lab.AttemptTimeout))
		if !errors.Is(err, lab.ErrRefused) || answer.Resent > resent {
			return fmt.Errorf("got answer %v, error %w, %d packets sent again", answer.Server, err, answer.Resent)
		}
		return nil
	})
}
