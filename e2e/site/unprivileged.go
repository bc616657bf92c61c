package site

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/e2e/lab"
)

// StartUnprivileged runs Fairlead on the first node as the main container of its pod does: with the network's privileges alone, where
// nothing below /proc/sys and no file but a few can be written. Flags are those given.
func (s *Site) StartUnprivileged(flags ...string) *lab.Process {
	s.t.Helper()
	return s.startContainer(nil, flags)
}

// StartPod is StartUnprivileged with what the pod has besides: the folder of its ServiceAccount's credentials, mounted where kubelet does,
// and an environment that says where the API server is.
func (s *Site) StartPod(credentials string, server netip.AddrPort, flags ...string) *lab.Process {
	s.t.Helper()
	return s.startContainer([]string{
		"CREDENTIALS=" + credentials,
		"KUBERNETES_SERVICE_HOST=" + server.Addr().String(),
		fmt.Sprintf("KUBERNETES_SERVICE_PORT=%d", server.Port()),
	}, flags)
}

func (s *Site) startContainer(environment, flags []string) *lab.Process {
	s.t.Helper()
	const script = `set -e
mount --make-rprivate /
mount -t tmpfs none /run
if [ -n "${CREDENTIALS:-}" ]; then
	mkdir -p /run/secrets/kubernetes.io/serviceaccount
	mount -o bind,ro "$CREDENTIALS" /run/secrets/kubernetes.io/serviceaccount
fi
mount -o bind,ro /proc/sys /proc/sys
exec setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all -- "$@"`
	// Each program becomes the next, so that this is the process of Fairlead.
	program := []string{"unshare", "--mount", "sh", "-c", script, "sh", Program, "--hostname-override", s.Node().Name}
	process, err := s.Node().StartProcess("env", slices.Concat(environment, program, flags), &s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	return process
}
