//go:build ipvs && soak

package ipvs

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

func TestAConnectionIsKeptForTheDrainTimeoutAtMost(t *testing.T) {
	timeout := lab.Patience(6 * time.Second)
	s, one, two := webStage(t, "--ipvs-drain-timeout", timeout.String())
	conns := s.standing()
	before := time.Now()
	s.behind("web", endpoint{two, s.node2, ""})
	s.weighs("tcp", one, 0)
	after := time.Now()
	for name, conn := range conns {
		if err := conn.Echo(t.Context(), "still there"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Eventually("the drain timeout passes", func() error {
		if err := s.webHasWeight("tcp", one, 0); err != nil && time.Since(before) < timeout {
			t.Fatalf("after %v of %v: %v", time.Since(before), timeout, err)
		}
		if time.Since(after) < timeout {
			return errors.New("it has not passed")
		}
		return nil
	})
	s.Verified(2)
	if err := s.webHasWeight("tcp", one, -1); err != nil {
		t.Errorf("two verifications after the drain timeout: %v", err)
	}
	var asking sync.WaitGroup
	for name, conn := range conns {
		asking.Go(func() {
			for range 5 { // the first packet may get lost
				switch err := conn.Echo(t.Context(), "and now"); {
				case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
					return
				case err != nil:
					t.Errorf("%s: %v, want that the client is told", name, err)
					return
				}
			}
			t.Errorf("%s: the connection stands", name)
		})
	}
	asking.Wait()
}

// TestAReusedPortReachesALivingEndpointAtOnce takes up the port of a connection to an endpoint that is gone (kubernetes#81775), which must
// not need a second SYN (kubernetes#93297).
func TestAReusedPortReachesALivingEndpointAtOnce(t *testing.T) {
	s, one, two := webStage(t)
	pods := map[bool]*lab.Host{false: one, true: two}
	nodes := map[bool]*lab.Host{false: s.node1, true: s.node2}
	var resent []string
	const rounds = 3
	for i := range rounds {
		port := s.nextPort()
		ask := func(f lab.Family) (lab.Answer, error) {
			return s.client.Ask(t.Context(), "tcp", vip(f, 10, 80), lab.Reset(), lab.From(s.client.AddrPort(f, port)))
		}
		second := i%2 == 0
		for _, f := range lab.Families {
			if _, err := ask(f); err != nil {
				t.Fatal(err)
			}
		}
		s.behind("web", endpoint{pods[second], nodes[second], ""})
		s.weighs("tcp", pods[second], 1)
		for _, f := range lab.Families {
			s.served(s.client, "tcp", vip(f, 10, 80), pods[second])
		}
		for _, f := range lab.Families {
			answer, err := ask(f)
			if err != nil || answer.Server != pods[second].AddrPort(f, 8080) {
				t.Errorf("%s: got %v, error %v", f, answer.Server, err)
			}
			if answer.Resent > 0 {
				resent = append(resent, fmt.Sprintf("%s: %d", f, answer.Resent))
			}
		}
	}
	if len(resent) > 0 {
		t.Errorf("packets were sent again: %v", resent)
	}
}
