package node

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead/fairlead/pkg/service"
)

func TestSelectionChoosesNodeAddresses(t *testing.T) {
	own := addresses("10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::1", "fd00::1")
	primary := addresses("192.0.2.1", "2001:db8::1")
	all := service.NodeAddresses{All: true}
	listed := func(texts ...string) service.NodeAddresses { return service.NodeAddresses{Listed: addresses(texts...)} }
	tests := []struct {
		name     string
		entries  string
		primary  []netip.Addr
		v4, v6   service.NodeAddresses
		loopback bool
	}{
		{"nothing means all", "", primary, all, all, true},
		{"a range has what is inside", "10.0.0.0/24", primary, listed("10.0.0.1", "10.0.0.2"), all, false},
		{"a range may be one address", "10.0.0.2/32", primary, listed("10.0.0.2"), all, false},
		{"the host part of a range does not matter", "10.0.0.99/24", primary, listed("10.0.0.1", "10.0.0.2"), all, false},
		{"overlapping ranges list nothing twice", "10.0.0.0/24,10.0.0.0/8", primary, listed("10.0.0.1", "10.0.0.2"), all, false},
		{"a range where the node has no address selects none", "172.16.0.0/12", primary, listed(), all, false},
		{"a range of one family leaves the other at all", "fd00::/8", primary, all, listed("fd00::1"), true},
		{"ranges of both families restrict both", "192.0.2.0/24,fd00::/8", primary, listed("192.0.2.1"), listed("fd00::1"), false},
		{"0.0.0.0/0 means all of IPv4", "10.0.0.0/24,0.0.0.0/0,fd00::/8", primary, all, listed("fd00::1"), true},
		{"::/0 means all of IPv6", "10.0.0.0/24,::/0", primary, listed("10.0.0.1", "10.0.0.2"), all, false},
		{"primary", "primary", primary, listed("192.0.2.1"), listed("2001:db8::1"), false},
		{"primary lists an address that the node is about to get", "primary", addresses("192.0.2.9"), listed("192.0.2.9"), listed(), false},
		{"primary and ranges add up, sorted", "primary,10.0.0.0/31,192.0.2.0/24", primary, listed("10.0.0.1", "192.0.2.1"), listed("2001:db8::1"), false},
		{"primary and 0.0.0.0/0: all of IPv4", "primary,0.0.0.0/0", primary, all, listed("2001:db8::1"), true},
		{"primary while the Node is unknown opens nothing", "primary", nil, listed(), listed(), false},
		{"127.0.0.0/8 is for localhost only", "127.0.0.0/8", primary, listed(), all, true},
		{"a part of 127.0.0.0/8 counts as all", "127.0.0.1/32,10.0.0.0/24", primary, listed("10.0.0.1", "10.0.0.2"), all, true},
		{"a range around 127.0.0.0/8 has it inside", "64.0.0.0/2", primary, listed(), all, true},
		{"localhost is nothing but localhost, in both families", "localhost", primary, listed(), listed(), true},
		{"localhost beside others", "primary,localhost,10.0.0.1/32", primary, listed("10.0.0.1", "192.0.2.1"), listed("2001:db8::1"), true},
		{"all", "all", primary, all, all, true},
		{"all beside others", "10.0.0.0/24,all,primary", primary, all, all, true},
		{"spaces do not matter", " primary , 10.0.0.1/32 ", primary, listed("10.0.0.1", "192.0.2.1"), listed("2001:db8::1"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var entries []string
			if test.entries != "" {
				entries = strings.Split(test.entries, ",")
			}
			s, err := ParseSelection(entries)
			if err != nil {
				t.Fatal(err)
			}
			for family, want := range map[service.Family]service.NodeAddresses{service.IPv4: test.v4, service.IPv6: test.v6} {
				got := s.NodeAddresses(family, own, test.primary)
				if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("%s: %s", family, diff)
				}
			}
			if got := s.Loopback(service.IPv4); got != test.loopback {
				t.Errorf("loopback: got %v", got)
			}
			if s.Loopback(service.IPv6) {
				t.Error("IPv6 has loopback node ports")
			}
		})
	}
}

func TestSelectionLeavesItsInputAlone(t *testing.T) {
	s, err := ParseSelection([]string{"primary", "0.0.0.0/1"})
	if err != nil {
		t.Fatal(err)
	}
	own, primary := addresses("10.0.0.2", "10.0.0.1"), addresses("10.0.0.9", "10.0.0.3")
	s.NodeAddresses(service.IPv4, own, primary)
	for i, want := range addresses("10.0.0.2", "10.0.0.1", "10.0.0.9", "10.0.0.3") {
		if got := append(own, primary...)[i]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseSelectionNamesEachWrongEntry(t *testing.T) {
	for _, wrong := range []string{"", "10.0.0.1", "10.0.0.0/33", "Primary", "eth0", "10.0.0.0/8,fd00::/8", "::ffff:10.0.0.0/104", "fe80::%eth0/64"} {
		t.Run(wrong, func(t *testing.T) {
			_, err := ParseSelection([]string{"10.0.0.0/8", wrong, "primary", "worse"})
			if err == nil || !strings.Contains(err.Error(), `"`+wrong+`" is neither`) || !strings.Contains(err.Error(), `"worse" is neither`) {
				t.Errorf("got %v", err)
			}
		})
	}
}
