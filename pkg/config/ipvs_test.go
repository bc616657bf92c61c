package config

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestEachModeHasPeriodsOfItsOwn(t *testing.T) {
	periods := []string{"--iptables-sync-period=40s", "--iptables-min-sync-period=4s", "--ipvs-sync-period=20s", "--ipvs-min-sync-period=2s"}
	tests := []struct {
		name         string
		args         []string
		usual, least time.Duration
	}{
		{"iptables by default", nil, 30 * time.Second, time.Second},
		{"ipvs by default", []string{"--proxy-mode=ipvs"}, 30 * time.Second, 0},
		{"iptables as given", periods, 40 * time.Second, 4 * time.Second},
		{"ipvs as given", append([]string{"--proxy-mode=ipvs"}, periods...), 20 * time.Second, 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := parseFlags(t, test.args...)
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			if c.SyncPeriod() != test.usual || c.MinSyncPeriod() != test.least {
				t.Errorf("got %v and %v, want %v and %v", c.SyncPeriod(), c.MinSyncPeriod(), test.usual, test.least)
			}
		})
	}
}

func TestExcludedRangesAreOfBothFamilies(t *testing.T) {
	s, err := parseFlags(t, "--proxy-mode=ipvs", "--ipvs-exclude-cidrs=192.0.2.7/24, 2001:db8::/64").Settings()
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	if !slices.Equal(s.Excluded, want) {
		t.Errorf("got %v, want %v", s.Excluded, want)
	}
}
