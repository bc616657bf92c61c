//go:build ipvs && soak

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// changes is how many there are on each side of a kill.
const changes = 50

// TestChurn changes Services at random, kills Fairlead in the middle, and compares the kernel with what a new Fairlead makes of the same
// objects in an empty kernel. Connections to a Service that does not change never fail meanwhile.
func TestChurn(t *testing.T) {
	s := newStage(t)
	s.openOutside()
	b := newBusy(s)
	s.foreign()
	untouched := s.kernel.mustState()
	s.Write("web", site.DualStack("web", 10, webPorts...))
	s.behind("web", endpoint{s.Pod(s.node1, "one", 8080), s.node1, ""}, endpoint{s.Pod(s.node2, "two", 8080), s.node2, ""})
	flags := []string{"--ipvs-drain-timeout", "2s", "--ipvs-min-sync-period", "50ms"}
	s.start(flags...)
	end := s.steady()
	b.change(changes)
	s.Stop(syscall.SIGKILL)
	b.change(10)
	s.start(flags...)
	b.change(changes)
	s.settle()
	churned := s.kernel.mustState()
	end()
	for _, text := range []string{"Repairing", "Could not"} {
		if n := s.Log.Count(text); n > 0 {
			t.Errorf("Fairlead says %d times %q", n, text)
		}
	}
	s.Stop(syscall.SIGTERM)
	s.cleanedUp(untouched)
	s.start(flags...)
	s.becomes("a new Fairlead makes the same", churned)
	t.Logf("%d lines of state", len(churned))
}

// foreign makes objects whose names and numbers are close to those of Fairlead's.
func (s *stage) foreign() {
	s.t.Helper()
	s.kernel.do(func() error {
		var errs []error
		for f, text := range map[lab.Family]string{lab.IPv4: "192.0.2.77", lab.IPv6: "2001:db8:77::77"} {
			addr := netip.MustParseAddr(text)
			foreign := ownRoute(addr)
			foreign.Protocol = unix.RTPROT_STATIC
			vs := virtualServer("tcp", netip.AddrPortFrom(addr, 80))
			errs = append(errs, s.kernel.ipvs.NewService(vs), s.kernel.ipvs.NewDestination(vs, realServer(s.client.AddrPort(f, 9000), 7)),
				netlink.IpsetCreate(fmt.Sprintf("FLV-FOREIGN-%d", f), "hash:ip", netlink.IpsetCreateOptions{Family: uint8(families[f])}),
				netlink.RouteAdd(foreign))
		}
		return errors.Join(errs...)
	})
	for _, program := range []string{"iptables-nft-restore", "ip6tables-nft-restore"} {
		restore := s.node1.Command(s.t.Context(), program)
		restore.Stdin = strings.NewReader("*mangle\n:FLV-OATING - [0:0]\n-A PREROUTING -p udp --dport 9 -j FLV-OATING\n-A FLV-OATING -j RETURN\nCOMMIT\n")
		if err := s.node1.Run(restore); err != nil {
			s.t.Fatal(err)
		}
	}
}

// cleanedUp runs fairlead cleanup, twice, and compares the kernel with its state before Fairlead started.
func (s *stage) cleanedUp(untouched []string) {
	s.t.Helper()
	for range 2 {
		if out, err := s.node1.Output(s.t.Context(), site.Program, "cleanup"); err != nil {
			s.t.Errorf("cleanup: %v\n%s", err, out)
		}
	}
	if diff := cmp.Diff(untouched, s.kernel.mustState()); diff != "" {
		s.t.Errorf("cleanup leaves something, or too little (-before +after):\n%s", diff)
	}
}

// settle waits until no endpoint drains and two verifications change nothing.
func (s *stage) settle() {
	s.t.Helper()
	var before []string
	s.Eventually("the kernel settles", func() error {
		now := s.kernel.mustState()
		diff := cmp.Diff(before, now)
		before = now
		if diff != "" || strings.Contains(strings.Join(now, "\n"), "weight 0") {
			s.Verified(2)
			return errors.New("it changes")
		}
		return nil
	})
}

// steady connects all the time to the Service that does not change, which must not fail, and to the others, which may, until end is called.
func (s *stage) steady() (end func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	made := 0
	s.everywhere(func(from *lab.Host, to netip.AddrPort) {
		running.Go(func() {
			for ctx.Err() == nil {
				_, err := from.AskPromptly(context.Background(), "tcp", to, lab.Reset())
				mu.Lock()
				if made++; err != nil {
					s.t.Errorf("%s: %v", time.Now().Format(time.StampMilli), err)
				}
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	})
	running.Go(func() {
		for ctx.Err() == nil {
			from, f := s.askers()[rand.IntN(3)], lab.Families[rand.IntN(2)]
			to := vip(f, firstBusy+rand.IntN(busyServices), []uint16{80, 53}[rand.IntN(2)])
			_, _ = from.Ask(ctx, []string{"tcp", "udp"}[rand.IntN(2)], to, lab.Reset(), lab.Timeout(50*time.Millisecond))
		}
	})
	s.t.Cleanup(cancel)
	return func() {
		cancel()
		running.Wait()
		s.t.Logf("%d steady connections", made)
	}
}
