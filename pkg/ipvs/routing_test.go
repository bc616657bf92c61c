package ipvs

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
)

// ip runs ip in the namespace of the test.
func ip(t *testing.T, f service.Family, args string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", append([]string{fmt.Sprintf("-%d", f)}, strings.Fields(args)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

func wantRoutes(t *testing.T, r routes, want ...netip.Addr) {
	t.Helper()
	got, err := r.List()
	must(t, err)
	slices.SortFunc(got, netip.Addr.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func wantRuled(t *testing.T, r routes, want bool) {
	t.Helper()
	if got, err := r.Ruled(); err != nil || got != want {
		t.Errorf("ruled: got %v, %v, want %v", got, err, want)
	}
}

// eachFamily runs a test in a namespace for each family.
func eachFamily(t *testing.T, test func(t *testing.T, f service.Family)) {
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			inNamespace(t)
			test(t, f)
		})
	}
}

func TestRoutesComeAndGo(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		r, one, two := newRoutes(f, 1<<16), address(f, 1), address(f, 2)
		wantRoutes(t, r)
		must(t, r.Delete(one)) // there is not even a table
		must(t, r.Add(one))
		must(t, r.Add(one))
		must(t, r.Add(two))
		wantRoutes(t, r, one, two)
		if text := ip(t, f, "route show table 17996"); !strings.Contains(text, fmt.Sprintf("local %s dev lo proto 70", one)) {
			t.Errorf("got %s", text)
		}
		must(t, r.Delete(one))
		must(t, r.Delete(one))
		wantRoutes(t, r, two)
	})
}

func TestRoutesOfOthersInOurTableAreNotOurs(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		r, one := newRoutes(f, 1<<16), address(f, 1)
		ip(t, f, fmt.Sprintf("route add %s dev lo table 17996", one))
		ip(t, f, fmt.Sprintf("route add local %s dev lo table 17996 proto 70", netip.PrefixFrom(address(f, 512), f.Bits()-8)))
		ip(t, f, fmt.Sprintf("route add local %s dev lo table 17997 proto 70", address(f, 3)))
		wantRoutes(t, r)
		must(t, r.Add(one)) // though there is another to the same address
		wantRoutes(t, r, one)
	})
}

func TestTheRouteLeadsMarkedPacketsToTheNode(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		r, one := newRoutes(f, 1<<16), address(f, 1)
		must(t, r.Add(one))
		must(t, r.AddRule())
		if text := ip(t, f, fmt.Sprintf("route get %s mark 0x10000", one)); !strings.Contains(text, "local") {
			t.Errorf("marked: %s", text)
		}
		out, err := exec.CommandContext(t.Context(), "ip", "route", "get", one.String()).CombinedOutput()
		if err == nil {
			t.Errorf("not marked: %s", out)
		}
	})
}

func TestTheRuleComesAndGoes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		r := newRoutes(f, 1<<16)
		wantRuled(t, r, false)
		must(t, r.DeleteRule())
		must(t, r.AddRule())
		must(t, r.AddRule())
		wantRuled(t, r, true)
		if text := ip(t, f, "-details rule"); !strings.Contains(text, "30:\tfrom all fwmark 0x10000/0x10000 lookup 17996 proto kernel") {
			t.Errorf("got %s", text)
		}
		must(t, r.DeleteRule())
		wantRuled(t, r, false)
	})
}

func TestOtherRulesToOurTableAreReplaced(t *testing.T) {
	tests := map[string]string{
		"of another mark":              "fwmark 0x20000/0x20000 priority 30",
		"of another mask":              "fwmark 0x10000/0x30000 priority 30",
		"of another priority":          "fwmark 0x10000/0x10000 priority 31",
		"for packets from one address": "fwmark 0x10000/0x10000 priority 30 from ADDRESS",
		"for packets from one device":  "fwmark 0x10000/0x10000 priority 30 iif lo",
		"for all packets":              "priority 30",
	}
	for name, rule := range tests {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f service.Family) {
				r := newRoutes(f, 1<<16)
				ip(t, f, "rule add table 17996 "+strings.ReplaceAll(rule, "ADDRESS", address(f, 1).String()))
				wantRuled(t, r, false)
				must(t, r.AddRule())
				wantRuled(t, r, true)
			})
		})
	}
}

func TestRulesToOtherTablesStay(t *testing.T) {
	eachFamily(t, func(t *testing.T, f service.Family) {
		r := newRoutes(f, 1<<16)
		ip(t, f, "rule add fwmark 0x10000/0x10000 priority 30 table 17997")
		before := ip(t, f, "rule")
		must(t, r.AddRule())
		must(t, r.DeleteRule())
		if after := ip(t, f, "rule"); after != before {
			t.Errorf("got %s, want %s", after, before)
		}
	})
}
