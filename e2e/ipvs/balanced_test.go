//go:build ipvs && soak

package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
)

// balancerIP is a port of the load-balancer IP that balanced gives the n-th Service.
func balancerIP(f lab.Family, n int, port uint16) netip.AddrPort {
	format := map[lab.Family]string{lab.IPv4: "203.0.113.%d", lab.IPv6: "2001:db8:1::%d"}[f]
	return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(format, n%10)), port)
}

// balancedStage is a stage with pods on both nodes, and outsiders that come to the first one.
func balancedStage(t *testing.T) (s *stage, here, there *lab.Host) {
	t.Helper()
	s = newStage(t)
	s.openOutside()
	return s, s.Pod(s.node1, "here", 8080), s.Pod(s.node2, "there", 8080)
}

// balance puts both pods behind a Service with a load-balancer IP.
func (s *stage) balance(name string, n int, policy corev1.ServiceExternalTrafficPolicy, here, there *lab.Host) {
	s.t.Helper()
	svc, _ := balanced(name, n, policy)
	s.Write(name, svc)
	s.behind(name, endpoint{here, s.node1, ""}, endpoint{there, s.node2, ""})
}

// lines are connections that stand.
type lines struct {
	s     *stage
	conns map[string]*lab.Conn
}

// open adds a connection from somewhere to each of some pods.
func (l *lines) open(name string, from *lab.Host, to netip.AddrPort, pods ...*lab.Host) {
	l.s.t.Helper()
	for _, pod := range pods {
		l.s.Eventually(fmt.Sprintf("%s gets from %s to %s", to, from.Name, pod.Name), func() error {
			conn, err := from.Connect(l.s.t.Context(), to, lab.Reset(), lab.Timeout(lab.AttemptTimeout))
			if err != nil {
				return err
			}
			if !isOneOf(conn.Answer.Server.Addr(), pod) {
				return errors.Join(errAnswered(conn.Answer), conn.Close())
			}
			l.s.t.Cleanup(func() { _ = conn.Close() })
			l.conns[fmt.Sprintf("%s: %s to %s at %s", name, from.Name, to, pod.Name)] = conn
			return nil
		})
	}
}

// echo uses all of them at once, as each one that is dead takes until its timeout.
func (l *lines) echo(t *testing.T, text string) {
	t.Helper()
	var asking sync.WaitGroup
	for name, conn := range l.conns {
		asking.Go(func() {
			if err := conn.Echo(t.Context(), "still there?"); err != nil {
				t.Errorf("%s: %s: %v", text, name, err)
			}
		})
	}
	asking.Wait()
}

// tell asks ten times. Each time one of some hosts has to answer, and each of them at least once.
func (s *stage) tell(from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) error {
	return s.tellWithin(lab.AnswerTimeout, from, network, to, by...)
}

// attempt is tell where the answers may not come yet.
func (s *stage) attempt(from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) error {
	return s.tellWithin(lab.AttemptTimeout, from, network, to, by...)
}

func (s *stage) tellWithin(timeout time.Duration, from *lab.Host, network string, to netip.AddrPort, by ...*lab.Host) error {
	heard := map[netip.Addr]bool{}
	for range 10 {
		answer, err := from.Ask(s.t.Context(), network, to, lab.Reset(), lab.Timeout(timeout))
		if err != nil {
			return err
		}
		if !isOneOf(answer.Server.Addr(), by...) {
			return fmt.Errorf("%s from %s: %s answers", to, from.Name, answer.Server)
		}
		heard[answer.Server.Addr()] = true
	}
	if len(heard) != len(by) {
		return fmt.Errorf("%s from %s: only %v answer", to, from.Name, heard)
	}
	return nil
}
