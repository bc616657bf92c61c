//go:build ipvs

package modeswitch

import (
	"flag"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/config"
)

var switches = flag.Int("switches", 10, "how often to switch under traffic")

// soon is how soon after its last connection a former mode has to be gone.
var soon = time.Minute + lab.Patience(5*time.Second)

// TestTenSwitchesUnderTraffic goes to and fro while connections stand and others are made.
func TestTenSwitchesUnderTraffic(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := newStage(t, variant)
		s.follows(config.ModeIPTables)
		flow := s.run()
		for i := range *switches {
			mode := []config.Mode{config.ModeIPVS, config.ModeIPTables}[i%2]
			s.switchTo(mode)
			time.Sleep(time.Second) // of traffic in that mode
			t.Logf("switch %d, to %s mode: %v", i+1, mode, flow.Report())
		}
		// Those that were opened in iptables mode need nothing, and new ones are over soon.
		flow.Stop().Check(t)
		former := config.ModeIPVS
		if *switches%2 == 1 {
			former = config.ModeIPTables
		}
		s.gone(former, soon)
		s.traffic.Await()
	})
}

// TestConnectionsOfIPVSModeOutliveIt opens the standing connections in IPVS mode, and goes to the other and back.
func TestConnectionsOfIPVSModeOutliveIt(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.follows(config.ModeIPVS)
	flow := s.run()
	for range 2 {
		s.switchTo(config.ModeIPTables)
		s.says("Connections of the former mode go on", 1)
		time.Sleep(time.Second)
		s.switchTo(config.ModeIPVS)
		s.gone(config.ModeIPTables, soon)
	}
	s.switchTo(config.ModeIPTables)
	// Longer than a silent flow is waited for: those that are heard of stay.
	time.Sleep(45 * time.Second)
	if len(s.remains(config.ModeIPVS)) == 0 {
		t.Error("nothing of ipvs mode is left while connections need it")
	}
	flow.Stop().Check(t)
	s.gone(config.ModeIPVS, soon)
	s.traffic.Await()
}

// TestARestartInAnotherMode finds what the mode before has left.
func TestARestartInAnotherMode(t *testing.T) {
	s := newStage(t, site.Variants[0])
	process := s.start(config.ModeIPVS)
	flow := s.run()
	for _, mode := range []config.Mode{config.ModeIPTables, config.ModeIPVS, config.ModeIPTables} {
		if err := process.Stop(syscall.SIGTERM); err != nil {
			t.Errorf("Fairlead ended badly: %v", err)
		}
		process = s.start(mode)
		time.Sleep(lab.Patience(3 * time.Second))
		t.Logf("restarted in %s mode: %v", mode, flow.Report())
	}
	flow.Stop().Check(t)
	s.gone(config.ModeIPVS, soon)
	s.traffic.Await()
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
