//go:build ipvs && soak

package modeswitch

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/traffic"
	"github.com/fairlead/fairlead/pkg/config"
)

// More of what Fairlead logs.
const (
	switching = "Switching the mode"
	removed   = "Nothing of the former mode is left in the kernel"
)

// start runs Fairlead on the node by flags, which are the same as the settings of the file, and waits until it serves.
func (s *stage) start(mode config.Mode) {
	s.t.Helper()
	s.serves("--cluster-cidr", site.PodCIDRs, "--iptables-variant", s.Variant, "--conntrack-max-per-core", "0", "--manifests", s.Manifests,
		"--iptables-min-sync-period", "100ms", "--ipvs-min-sync-period", "100ms", "--proxy-mode", string(mode))
}

// TestTenSwitches goes to and fro while connections of both modes stand and others are made.
func TestTenSwitches(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := newStage(t, variant)
		s.set(config.ModeIPTables)
		s.follow()
		s.traffic.Await()
		flows := []*traffic.Traffic{s.run(s.traffic.Targets)}
		for i := range 10 {
			mode := []config.Mode{config.ModeIPVS, config.ModeIPTables}[i%2]
			s.switchTo(mode)
			if i == 0 {
				flows = append(flows, s.run(s.traffic.Targets))
			}
			for _, flow := range flows {
				s.inForce(mode, flow)
			}
		}
		s.end(flows)
	})
}

// end stops the traffic, of which nothing may have failed, and waits for the end of IPVS mode.
func (s *stage) end(flows []*traffic.Traffic) {
	s.t.Helper()
	for _, flow := range flows {
		flow.Stop().Check(s.t)
	}
	s.gone(config.ModeIPVS)
	s.traffic.Await()
}

// TestARestartInAnotherMode finds what the mode before has left.
func TestARestartInAnotherMode(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.start(config.ModeIPVS)
	s.traffic.Await()
	flows := []*traffic.Traffic{s.run(s.traffic.Targets)}
	for _, mode := range []config.Mode{config.ModeIPTables, config.ModeIPVS, config.ModeIPTables} {
		before := s.Log.Count(draining)
		if err := s.process.Stop(syscall.SIGTERM); err != nil {
			t.Errorf("Fairlead ended badly: %v", err)
		}
		s.start(mode)
		s.inForce(mode, flows[0])
		if mode == config.ModeIPTables {
			s.says(draining, before+len(lab.Families))
		} else {
			flows = append(flows, s.run(s.traffic.Targets))
		}
	}
	for _, flow := range flows {
		flow.More(t, 1)
	}
	s.end(flows)
}

// TestAKilledSwitchIsFinished kills Fairlead as soon as it has logged that a phase has begun, and starts it again.
func TestAKilledSwitchIsFinished(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.set(config.ModeIPTables)
	s.follow()
	s.traffic.Await()
	flows := []*traffic.Traffic{s.run(s.traffic.Targets)}
	for _, step := range []struct {
		mode  config.Mode
		phase string
	}{
		{config.ModeIPVS, switching},
		{config.ModeIPTables, switching},
		{config.ModeIPVS, switched},
		{config.ModeIPTables, switched},
		{config.ModeIPVS, switched},
		{config.ModeIPTables, draining},
	} {
		before := s.Log.Count(step.phase)
		s.set(step.mode)
		s.says(step.phase, before+1)
		if err := s.process.Stop(syscall.SIGKILL); err == nil {
			t.Fatal("Fairlead ended by itself")
		}
		t.Logf("%s: killed on the way to %s mode, after %q", time.Now().Format(time.TimeOnly), step.mode, step.phase)
		flows[0].More(t, 1) // without Fairlead
		s.follow()
		s.inForce(step.mode, flows[0])
		if len(flows) == 1 {
			flows = append(flows, s.run(s.traffic.Targets))
		}
		for _, flow := range flows {
			flow.More(t, 1)
		}
	}
	s.end(flows)
}

// vip is the Service's cluster IP.
func (s *stage) vip(f lab.Family) netip.AddrPort {
	for _, target := range s.traffic.Targets {
		if target.From == s.traffic.Client && target.To.Addr().Is4() == (f == lab.IPv4) {
			return target.To
		}
	}
	panic("no target for " + f.String())
}

// TestIPVSModeStaysForConnectionsThatAreInUse has traffic in IPv4 only. When IPv6 has forgotten a flow that fell silent at the switch, those
// of IPv4 are as old and have to be there.
func TestIPVSModeStaysForConnectionsThatAreInUse(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.set(config.ModeIPVS)
	s.follow()
	s.traffic.Await()
	flow := s.run(slices.DeleteFunc(slices.Clone(s.traffic.Targets), func(target traffic.Target) bool { return target.To.Addr().Is6() }))
	silent, err := s.traffic.Client.Flow(t.Context(), s.vip(lab.IPv6))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	s.switchTo(config.ModeIPTables)
	s.says(draining, len(lab.Families))
	s.Within(drainLimit, "IPv6 has forgotten its connections", func() error {
		if s.Log.Count(fmt.Sprintf("%q family=%q", removed, lab.IPv6)) == 0 {
			return fmt.Errorf("it logs:\n%s", s.Log.String())
		}
		return nil
	})
	out, err := s.Node().Output(context.Background(), "ipvsadm", "-Sn")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, s.vip(lab.IPv4).String()) || strings.Contains(out, s.vip(lab.IPv6).String()) {
		t.Errorf("want the virtual servers of IPv4 alone, got\n%s", out)
	}
	flow.More(t, 1)
	s.end([]*traffic.Traffic{flow})
}

// TestASwitchIsRefusedWhereTheKernelCannotBePrepared has no init container that knew of IPVS mode, and may not write below /proc/sys itself.
func TestASwitchIsRefusedWhereTheKernelCannotBePrepared(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.set(config.ModeIPTables)
	s.StartUnprivileged("--config", s.file)
	s.says(firstSync, len(lab.Families))
	s.set(config.ModeIPVS)
	s.says("Cannot switch the mode", 1)
	if !strings.Contains(s.Log.String(), "net.ipv4.vs.conntrack has to be 1") {
		t.Error("the log does not name the setting")
	}
	if left := s.remains(config.ModeIPVS); len(left) > 0 {
		t.Errorf("there is something of ipvs mode, such as %s", left[0])
	}
	s.traffic.Await()
}
