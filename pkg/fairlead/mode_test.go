package fairlead

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/service"
)

// Invalid settings of a mode that is not in use must not prevent the other mode from serving.
func TestSettingsThatAreNotInUseMayBeInvalid(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *config.Config)
	}{
		{"a range without a length", func(c *config.Config) { c.IPVS.ExcludeCIDRs = []string{"192.0.2.1"} }},
		{"a bit out of range", func(c *config.Config) { c.IPVS.MarkBit = -1 }},
		{"the bit of masquerading", func(c *config.Config) { c.IPTables.MasqueradeBit = c.IPVS.MarkBit }},
		{"an unknown scheduler", func(c *config.Config) { c.IPVS.Scheduler = "best" }},
		{"periods of iptables mode", func(c *config.Config) { c.Mode, c.IPTables.SyncPeriod = config.ModeIPVS, -1 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			test.change(c)
			var events recorded
			m := newMonitor(c, []service.Family{service.IPv4})
			m.setEvents(&events, func(string, string) {})
			settings, err := c.Settings()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newLine(settings, service.IPv4, "node1", m); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatChangesWhileWaitingForTheKernel(t *testing.T) {
	waiting := config.Default()
	waiting.Mode = config.ModeIPVS
	tests := []struct {
		name   string
		change func(c *config.Config)
		taken  bool
	}{
		{"another mode", func(c *config.Config) { c.Mode = config.ModeIPTables }, true},
		{"another mode, with an invalid period", func(c *config.Config) { c.Mode, c.IPTables.SyncPeriod = config.ModeIPTables, -time.Second }, false},
		{"a mark bit that the running settings use", func(c *config.Config) { c.IPVS.MarkBit, c.IPTables.MasqueradeBit = waiting.IPTables.MasqueradeBit, 20 }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changed := *waiting
			test.change(&changed)
			got := changedWhileWaiting(t.Context(), waiting, &changed)
			if (got != waiting) != test.taken || got.Validate() != nil {
				t.Errorf("taken: %v, want %v; %v", got != waiting, test.taken, got.Validate())
			}
		})
	}
}
