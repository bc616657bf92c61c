package site

import "github.com/fairlead/fairlead/e2e/lab"

// StartUnprivileged runs Fairlead on the first node as the main container of its pod does: with the network's privileges alone, where
// nothing below /proc/sys and no file but a few can be written. Flags are those given.
func (s *Site) StartUnprivileged(flags ...string) *lab.Process {
	s.t.Helper()
	const script = `set -e
mount --make-rprivate /
mount -t tmpfs none /run
mount -o bind,ro /proc/sys /proc/sys
exec setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all -- "$@"`
	args := append([]string{"--mount", "sh", "-c", script, "sh", Program, "--hostname-override", s.Node().Name}, flags...)
	process, err := s.Node().StartProcess("unshare", args, &s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	return process
}
