package rtnl

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestListsAreReadUntilTheyAreWhole(t *testing.T) {
	other := errors.New("other")
	tests := []struct {
		name        string
		interrupted int
		err         error // of a list that was not interrupted
		wantCalls   int
		want        error
	}{
		{"at once", 0, nil, 1, nil},
		{"after an interruption", 1, nil, 2, nil},
		{"the last attempt counts", 9, nil, 10, nil},
		{"and not forever", 99, nil, 10, netlink.ErrDumpInterrupted},
		{"another error is not tried again", 1, other, 2, other},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			listed, err := Whole(func() ([]int, error) {
				if calls++; calls <= test.interrupted {
					return nil, netlink.ErrDumpInterrupted
				}
				return []int{calls}, test.err
			})
			if calls != test.wantCalls || !errors.Is(err, test.want) {
				t.Errorf("got %d calls and %v", calls, err)
			}
			if test.want == nil && (len(listed) != 1 || listed[0] != calls) {
				t.Errorf("got %v, want what the last call listed", listed)
			}
		})
	}
}

func TestAHostNetHasOneAddress(t *testing.T) {
	for addr, want := range map[string]string{"10.96.0.1": "10.96.0.1/32", "fd00::1": "fd00::1/128"} {
		if got := HostNet(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}
