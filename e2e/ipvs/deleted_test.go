//go:build ipvs

package ipvs

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

const deletedNodePort = 30080

// TestConnectionsOfADeletedService: they go on (kubernetes#71894), and whoever loses one is told at once.
func TestConnectionsOfADeletedService(t *testing.T) {
	s := newStage(t)
	s.openOutside()
	pod := s.Pod(s.node2, "pod", 8080)
	svc := site.DualStack("web", 10, webPorts...)
	svc.Spec.Type = corev1.ServiceTypeNodePort
	svc.Spec.Ports[0].NodePort = deletedNodePort
	s.Write("web", svc)
	s.behind("web", endpoint{pod, s.node2, ""})
	s.start()
	conns := s.standing()
	for _, f := range lab.Families {
		for _, from := range s.askers() {
			to := s.node1.AddrPort(f, deletedNodePort)
			conn, err := from.Connect(t.Context(), to, lab.Reset())
			if err != nil {
				t.Fatalf("%s to %s: %v", from.Name, to, err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			conns[fmt.Sprintf("%s to %s", from.Name, to)] = conn
		}
	}
	goOn := func(when string) {
		t.Helper()
		s.everywhere(func(from *lab.Host, to netip.AddrPort) { s.refused(from, to) })
		for name, conn := range conns {
			if err := conn.Echo(t.Context(), when); err != nil {
				t.Errorf("%s, after %s: %v", name, when, err)
			}
		}
	}
	s.remove("web")
	s.remove("behind-web")
	goOn("the Service is deleted")
	s.Stop(syscall.SIGKILL)
	s.start()
	goOn("Fairlead is killed and comes back")
	s.Stop(syscall.SIGTERM)
	s.start("--ipvs-drain-timeout", "0s")
	var asking sync.WaitGroup
	for name, conn := range conns {
		asking.Go(func() {
			if err := toldAtOnce(t, conn); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	asking.Wait()
}

// toldAtOnce returns an error unless the client on a connection learns that it has been cut before it has sent more than a few packets: IPVS drops
// the first one itself.
func toldAtOnce(t *testing.T, conn *lab.Conn) error {
	const few = 3
	err := conn.Echo(t.Context(), "still there?")
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("got error %w, want that the connection is reset", err)
	}
	if n := conn.Resent(); n > few {
		return fmt.Errorf("the client has sent its packet again %d times", n)
	}
	return nil
}
