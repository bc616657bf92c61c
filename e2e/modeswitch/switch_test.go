//go:build ipvs

package modeswitch

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/config"
)

// TestASwitchThereAndBack goes from iptables to IPVS mode and back while Fairlead runs, each time with connections that stand since the
// mode before.
func TestASwitchThereAndBack(t *testing.T) {
	s := newStage(t, site.Variants[0])
	s.set(config.ModeIPTables)
	s.follow()
	s.traffic.Await()
	first := s.run(s.traffic.Targets)
	first.More(t, 1)

	s.switchTo(config.ModeIPVS)
	s.inForce(config.ModeIPVS, first)
	s.gone(config.ModeIPTables)
	second := s.run(s.traffic.Targets)
	second.More(t, 1)

	s.switchTo(config.ModeIPTables)
	s.inForce(config.ModeIPTables, second)
	// Those of IPVS mode are still IPVS's.
	s.says(draining, len(lab.Families))
	second.More(t, 1)
	first.More(t, 1)
	if len(s.remains(config.ModeIPVS)) == 0 {
		t.Error("nothing of ipvs mode is left while connections need it")
	}
	second.Stop().Check(t)
	first.Stop().Check(t)
}
