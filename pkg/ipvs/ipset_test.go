package ipvs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// sample are entries for each kind of set.
func sample(f service.Family, kind setKind) []entry {
	half := netip.PrefixFrom(address(f, 0), 1).Masked()
	network := netip.PrefixFrom(address(f, 0), f.Bits()-8)
	single := netip.PrefixFrom(address(f, 9), f.Bits())
	tcp, udp, sctp := keyOf(f, service.TCP, 1, 80), keyOf(f, service.UDP, 1, 53), keyOf(f, service.SCTP, 258, 65535)
	switch kind {
	case ofFrontends:
		return []entry{{key: tcp}, {key: udp}, {key: sctp}}
	case ofClients:
		return []entry{{tcp, half}, {tcp, network}, {udp, single}, {sctp, single}}
	case ofPairs:
		return []entry{{client: single}, {client: netip.PrefixFrom(address(f, 1), f.Bits())}}
	case ofPorts:
		return []entry{{key: port(1)}, {key: port(30080)}, {key: port(65535)}}
	}
	return nil
}

func port(n uint16) key { return key{service.TCP, netip.AddrPortFrom(netip.Addr{}, n)} }

func inOrder(a, b entry) int {
	return cmp.Or(cmp.Compare(a.key.protocol, b.key.protocol), a.key.address.Compare(b.key.address), a.client.Compare(b.client))
}

// wantEntries fails the test unless a set has just these entries.
func wantEntries(t *testing.T, k sets, s ipset, want ...entry) {
	t.Helper()
	got, err := k.List(s)
	must(t, err)
	slices.SortFunc(got, inOrder)
	want = slices.SortedFunc(slices.Values(want), inOrder)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// testKind fills and empties a set in the kernel.
func testKind(t *testing.T, f service.Family, kind setKind) {
	inNamespace(t)
	k, s, all := newSets(f), ipset{"FL-TEST", kind}, sample(f, kind)
	must(t, k.Create(s))
	wantEntries(t, k, s)
	must(t, k.Add(s, all...))
	wantEntries(t, k, s, all...)
	must(t, k.Add(s, all[:2]...)) // are there already
	must(t, k.Delete(s, all[1]))
	must(t, k.Delete(s, all[:2]...)) // one is not there
	wantEntries(t, k, s, all[2:]...)
	if err := k.Create(s); !errors.Is(err, errExists) {
		t.Errorf("create it again: %v", err)
	}
	other := ipset{s.name, ofFrontends}
	if kind == ofFrontends {
		other.kind = ofPorts
	}
	if _, err := k.List(other); !errors.Is(err, errWrongKind) {
		t.Errorf("list as %s: %v", other.kind, err)
	}
	must(t, k.Destroy(s.name))
}

// These are in every kernel that has ipset; hash:net,net is not.
func TestSetsOfEachKindHoldTheirEntries(t *testing.T) {
	for _, f := range families {
		for _, kind := range []setKind{ofFrontends, ofClients, ofPorts} {
			t.Run(fmt.Sprintf("%s %s", f, kind), func(t *testing.T) { testKind(t, f, kind) })
		}
	}
}

func TestSetsThatAreNotThere(t *testing.T) {
	inNamespace(t)
	k, s := newSets(service.IPv4), ipset{"FL-TEST", ofFrontends}
	_, listErr := k.List(s)
	some := sample(service.IPv4, s.kind)
	for doing, err := range map[string]error{"list": listErr, "add": k.Add(s, some...), "delete": k.Delete(s, some...), "destroy": k.Destroy(s.name)} {
		if !errors.Is(err, errNotFound) || !strings.Contains(fmt.Sprint(err), s.name) {
			t.Errorf("%s: %v", doing, err)
		}
	}
}

func TestSetsOfTheOtherFamilyAreOfTheWrongKind(t *testing.T) {
	inNamespace(t)
	s := ipset{"FL-TEST", ofFrontends}
	must(t, newSets(service.IPv4).Create(s))
	if _, err := newSets(service.IPv6).List(s); !errors.Is(err, errWrongKind) {
		t.Error(err)
	}
}

func TestSetsInUseSaySo(t *testing.T) {
	inNamespace(t)
	k, s := newSets(service.IPv4), ipset{"FL-TEST", ofFrontends}
	must(t, k.Create(s))
	if out, err := exec.CommandContext(t.Context(), "iptables", "-A", "INPUT", "-m", "set", "--match-set", s.name, "dst,dst").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := k.Destroy(s.name); err == nil || !strings.Contains(err.Error(), "FL-TEST: is in use") {
		t.Error(err)
	}
}

func TestNamesAreThoseOfAllSets(t *testing.T) {
	inNamespace(t)
	k := newSets(service.IPv4)
	names, err := k.Names()
	if err != nil || len(names) != 0 {
		t.Errorf("of none: %v, %v", names, err)
	}
	must(t, k.Create(ipset{"A", ofFrontends}))
	must(t, newSets(service.IPv6).Create(ipset{"B", ofFrontends}))
	must(t, k.Create(ipset{"C", ofPorts}))
	must(t, k.Add(ipset{"A", ofFrontends}, manyFrontends(service.IPv4, 3000)...)) // more than one message in a list of entries
	if names, err = k.Names(); err != nil || !slices.Equal(slices.Sorted(slices.Values(names)), []string{"A", "B", "C"}) {
		t.Errorf("got %v, %v", names, err)
	}
}

func manyFrontends(f service.Family, n int) []entry {
	list := make([]entry, n)
	for i := range list {
		list[i].key = keyOf(f, service.TCP, i, 80)
	}
	return list
}

func TestSetsHoldMoreThanTheKernelsDefault(t *testing.T) {
	inNamespace(t)
	k, s, all := newSets(service.IPv6), ipset{"FL-TEST", ofFrontends}, manyFrontends(service.IPv6, 70_000)
	must(t, k.Create(s))
	must(t, k.Add(s, all...))
	wantEntries(t, k, s, all...)
}

func TestAllAddressesAreNoEntry(t *testing.T) {
	inNamespace(t)
	k, s := newSets(service.IPv4), ipset{"FL-TEST", ofClients}
	must(t, k.Create(s))
	e := entry{keyOf(service.IPv4, service.TCP, 1, 80), netip.MustParsePrefix("0.0.0.0/0")}
	if err := k.Add(s, e); err == nil || !strings.Contains(err.Error(), "two halves") {
		t.Error(err)
	}
}

func TestEntriesOfOthersAreLeftOut(t *testing.T) {
	ip := func(a byte) []byte { return []byte{8, 0, 1, 64, 10, 0, 0, a} }
	tests := map[string]struct {
		kind setKind
		data attributes
	}{
		"exceptions":                   {ofClients, attributes{nl.IPSET_ATTR_IP: ip(1), nl.IPSET_ATTR_IP2: ip(2), nl.IPSET_ATTR_CIDR2: {24}, nl.IPSET_ATTR_PORT: {0, 80}, nl.IPSET_ATTR_PROTO: {6}, nl.IPSET_ATTR_CADT_FLAGS: {0, 0, 0, 4}}},
		"pairs of different addresses": {ofPairs, attributes{nl.IPSET_ATTR_IP: ip(1), nl.IPSET_ATTR_IP2: ip(2), nl.IPSET_ATTR_CIDR: {32}, nl.IPSET_ATTR_CIDR2: {32}}},
		"pairs of different lengths":   {ofPairs, attributes{nl.IPSET_ATTR_IP: ip(1), nl.IPSET_ATTR_IP2: ip(1), nl.IPSET_ATTR_CIDR: {24}, nl.IPSET_ATTR_CIDR2: {32}}},
		"no address":                   {ofFrontends, attributes{nl.IPSET_ATTR_PORT: {0, 80}, nl.IPSET_ATTR_PROTO: {6}}},
		"half an address":              {ofFrontends, attributes{nl.IPSET_ATTR_IP: {6, 0, 1, 64, 10, 0, 0, 0}, nl.IPSET_ATTR_PORT: {0, 80}, nl.IPSET_ATTR_PROTO: {6}}},
		"no protocol":                  {ofFrontends, attributes{nl.IPSET_ATTR_IP: ip(1), nl.IPSET_ATTR_PORT: {0, 80}}},
		"half a port":                  {ofPorts, attributes{nl.IPSET_ATTR_PORT: {80}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if e, ours := decodeEntry(test.kind, test.data); ours {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestErrorsOfSetsAreSaidInOurTerms(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"none":                   {nil, "<nil>"},
		"a missing set":          {unix.ENOENT, "add to ipset A: is not there"},
		"a set that is there":    {unix.EEXIST, "add to ipset A: is there already"},
		"a full set":             {syscall.Errno(nl.IPSET_ERR_TYPE_SPECIFIC), "add to ipset A: " + errFull.Error()},
		"ipset's own error":      {syscall.Errno(nl.IPSET_ERR_INVALID_FAMILY), "add to ipset A: invalid family"},
		"the same, from netlink": {nl.IPSetError(nl.IPSET_ERR_INVALID_FAMILY), "add to ipset A: invalid family"},
		"another error":          {unix.EPERM, "add to ipset A: operation not permitted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(setError("add to ipset", "A", test.err)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestModulesOfSets(t *testing.T) {
	want := map[setKind]string{ofFrontends: "ip_set_hash_ipport", ofClients: "ip_set_hash_ipportnet", ofPairs: "ip_set_hash_netnet", ofPorts: "ip_set_bitmap_port"}
	for kind, module := range want {
		if got := kind.module(); got != module {
			t.Errorf("%s: got %s, want %s", kind, got, module)
		}
	}
}

func TestAKindThatTheKernelDoesNotHaveIsNamed(t *testing.T) {
	inNamespace(t)
	err := newSets(service.IPv4).Create(ipset{"FL-TEST", "hash:no,such"})
	if !errors.Is(err, errNoType) || !strings.Contains(err.Error(), "ip_set_hash_nosuch") || !strings.Contains(err.Error(), "CONFIG_IP_SET_HASH_NOSUCH") {
		t.Error(err)
	}
}
