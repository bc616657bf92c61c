package conntrack

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

var families = []service.Family{service.IPv4, service.IPv6}

// change is one step from a table to the next, and what must become of the flows there are.
type change struct {
	name         string
	was, is      []port
	unknown      bool // nothing is known of what was before
	unrepliedTCP bool
	gone, stay   []string
	noDump       bool
}

func (c change) test(t *testing.T, f service.Family) {
	flows, k := testFlows(f, Options{UnrepliedTCP: c.unrepliedTCP}, slices.Concat(c.gone, c.stay)...)
	was, is := buildTable(f, c.was...), buildTable(f, c.is...)
	dirty := differences(was, is)
	if c.unknown {
		was, dirty = nil, nil
	}
	if err := flows.Synced(t.Context(), was, is, dirty); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(k.removed, c.gone) {
		t.Errorf("deleted\n%s\nwant\n%s", strings.Join(k.removed, "\n"), strings.Join(c.gone, "\n"))
	}
	if dumps := map[bool]int{true: 0, false: 1}[c.noDump]; k.dumps != dumps {
		t.Errorf("%d dumps, want %d", k.dumps, dumps)
	}
}

func testChanges(t *testing.T, changes []change) {
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			for _, c := range changes {
				t.Run(c.name, func(t *testing.T) { c.test(t, f) })
			}
		})
	}
}

func TestFlowsOfUDPFollowTheEndpoints(t *testing.T) {
	testChanges(t, []change{
		{
			name: "an endpoint goes: its flows go, those of the others stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53 b:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 b:53"},
		},
		{
			name: "an endpoint changes its port: flows to the old one go",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53", to: "a:5353"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 a:5353"},
		},
		{
			name: "the last endpoint goes: its flows go",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53"}},
			gone: []string{"udp vip:53 a:53"},
		},
		{
			name: "an endpoint comes back after nobody was there: older flows to others go",
			was:  []port{{name: "dns", at: "vip:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 b:53"},
		},
		{
			name: "the Service goes: its flows go",
			was:  []port{{name: "dns", at: "vip:53 :30053", to: "a:53"}},
			gone: []string{"udp vip:53 a:53", "udp node:30053 a:53"}, stay: []string{"udp vip2:53 a:53"},
		},
		{
			name: "an endpoint terminates and serves still: its flows stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53 b:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53", serving: "a:53 b:53"}},
			stay: []string{"udp vip:53 a:53", "udp vip:53 b:53"}, noDump: true,
		},
		{
			name: "a terminating endpoint serves no more: its flows go",
			was:  []port{{name: "dns", at: "vip:53", to: "b:53", serving: "a:53 b:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 b:53"},
		},
		{
			name: "one endpoint goes and topology turns away from another: only the flows of the first go",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53 b:53 c:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53", serving: "b:53 c:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 c:53"},
		},
		{
			name: "the traffic policy becomes local: flows to serving endpoints elsewhere stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53 c:53"}},
			is:   []port{{name: "dns", at: "vip:53", local: "a:53", serving: "a:53 c:53", scope: service.Node}},
			stay: []string{"udp vip:53 c:53"}, noDump: true,
		},
		{
			name: "another one goes while an endpoint gets flows without serving: those stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53 b:53"}}, is: []port{{name: "dns", at: "vip:53", to: "b:53", serving: "nobody"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 b:53"},
		},
	})
}

func TestNothingIsLookedAtWhereNoFlowIsLeftBehind(t *testing.T) {
	testChanges(t, []change{
		{
			name: "an endpoint comes beside others: nothing is looked at",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53", to: "a:53 b:53"}},
			stay: []string{"udp vip:53 a:53", "udp vip:53"}, noDump: true,
		},
		{
			name: "a Service without endpoints comes or goes: nothing is looked at",
			was:  []port{{name: "one", at: "vip:53"}}, is: []port{{name: "two", at: "vip2:53"}},
			stay: []string{"udp vip:53", "udp vip2:53"}, noDump: true,
		},
		{
			name: "a TCP endpoint goes",
			was:  []port{{name: "web", protocol: service.TCP, at: "vip:80", to: "a:80 b:80"}},
			is:   []port{{name: "web", protocol: service.TCP, at: "vip:80", to: "b:80"}},
			stay: []string{"tcp vip:80 a:80 opening"}, noDump: true,
		},
		{
			name: "the last TCP endpoint goes",
			was:  []port{{name: "web", protocol: service.TCP, at: "vip:80", to: "a:80"}}, is: []port{{name: "web", protocol: service.TCP, at: "vip:80"}},
			stay: []string{"tcp vip:80 opening"}, noDump: true,
		},
		{name: "nothing changes", was: []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53", to: "a:53"}}, noDump: true},
	})
}

func TestFlowsOfUDPFollowTheFrontends(t *testing.T) {
	testChanges(t, []change{
		{
			name: "a virtual IP goes: flows through it go, also to serving endpoints",
			was:  []port{{name: "dns", at: "vip:53 vip2:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53", to: "a:53"}},
			gone: []string{"udp vip2:53 a:53"}, stay: []string{"udp vip:53 a:53"},
		},
		{
			name: "a virtual IP passes to another Service: only flows to what that one serves with stay",
			was:  []port{{name: "old", at: "vip:53", to: "a:53 b:53"}}, is: []port{{name: "new", at: "vip:53", to: "b:53 c:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip:53 b:53"},
		},
		{
			name: "a virtual IP passes to a Service that has had endpoints elsewhere",
			was:  []port{{name: "old", at: "vip:53", to: "a:53"}, {name: "new", at: "vip2:53", to: "b:53"}},
			is:   []port{{name: "new", at: "vip:53 vip2:53", to: "b:53"}},
			gone: []string{"udp vip:53 a:53"}, stay: []string{"udp vip2:53 b:53"},
		},
		{
			name: "a node port changes: flows through the old one go",
			was:  []port{{name: "dns", at: "vip:53 :30053", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53 :30054", to: "a:53"}},
			gone: []string{"udp node:30053 a:53"}, stay: []string{"udp vip:53 a:53", "udp node:30054 a:53"},
		},
		{
			name: "an endpoint goes: its flows through the node port go, to every address of the node, also former ones",
			was:  []port{{name: "dns", at: ":30053", to: "a:53 b:53"}}, is: []port{{name: "dns", at: ":30053", to: "b:53"}},
			gone: []string{"udp node:30053 a:53", "udp loopback:30053 a:53", "udp away:30053 a:53"}, stay: []string{"udp node:30053 b:53"},
		},
		{
			name: "flows to other machines that have the number of a node port stay",
			was:  []port{{name: "dns", at: ":30053", to: "a:53"}}, is: []port{{name: "dns", at: ":30053", to: "b:53"}},
			stay: []string{"udp node2:30053", "udp away:30053", "udp a:30053"},
		},
		{
			name: "flows through another Service's virtual IP that has the number of a node port stay",
			was:  []port{{name: "dns", at: ":30053", to: "a:53"}, {name: "other", at: "vip2:30053", to: "c:53"}},
			is:   []port{{name: "dns", at: ":30053", to: "b:53"}, {name: "other", at: "vip2:30053", to: "c:53"}},
			gone: []string{"udp node:30053 a:53"}, stay: []string{"udp vip2:30053 c:53"},
		},
		{
			name: "a host's own process is the endpoint and has the number of the node port: its flows stay",
			was:  []port{{name: "dns", at: ":30053", to: "node:30053 a:53"}}, is: []port{{name: "dns", at: ":30053", to: "node:30053"}},
			gone: []string{"udp node:30053 a:53"}, stay: []string{"udp node:30053"},
		},
		{
			name: "flows of other Services, of other ports and protocols and straight to a pod stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}, {name: "other", at: "vip2:53", to: "a:53"}},
			is:   []port{{name: "dns", at: "vip:53", to: "b:53"}, {name: "other", at: "vip2:53", to: "a:53"}},
			stay: []string{"udp vip2:53 a:53", "udp vip:54 a:53", "tcp vip:53 a:53", "tcp vip:53 a:53 opening", "sctp vip:53 a:53", "udp a:53", "udp away:53 a:53"},
		},
	})
}

func TestFlowsThatWereTriedBeforeTheRulesStood(t *testing.T) {
	testChanges(t, []change{
		{
			name: "a Service comes: UDP flows that went nowhere go, answered or not",
			is:   []port{{name: "dns", at: "vip:53", to: "a:53"}},
			gone: []string{"udp vip:53", "udp vip:53 opening"}, stay: []string{"udp vip2:53", "udp vip:54", "udp vip:53 a:53"},
		},
		{
			name: "a Service comes: TCP connections that are being opened go, standing ones stay",
			is:   []port{{name: "web", protocol: service.TCP, at: "vip:80", to: "a:80"}},
			gone: []string{"tcp vip:80 opening"}, stay: []string{"tcp vip:80", "tcp vip:80 a:80 opening", "udp vip:80"},
		},
		{
			name: "a Service comes: SCTP is as TCP",
			is:   []port{{name: "m3ua", protocol: service.SCTP, at: "vip:2905", to: "a:2905"}},
			gone: []string{"sctp vip:2905 opening"}, stay: []string{"sctp vip:2905", "sctp vip:2905 a:2905 opening"},
		},
		{
			name: "a Service gets its first endpoint",
			was:  []port{{name: "web", protocol: service.TCP, at: "vip:80"}, {name: "dns", at: "vip:53"}},
			is:   []port{{name: "web", protocol: service.TCP, at: "vip:80", to: "a:80"}, {name: "dns", at: "vip:53", to: "a:53"}},
			gone: []string{"tcp vip:80 opening", "udp vip:53"}, stay: []string{"tcp vip:80 a:80"},
		},
		{
			name: "a Service gets its first endpoint on this node, where only those count",
			was:  []port{{name: "dns", at: "vip:53", scope: service.Node}},
			is:   []port{{name: "dns", at: "vip:53", local: "a:53", serving: "a:53", scope: service.Node}},
			gone: []string{"udp vip:53"},
		},
		{
			name: "a Service gets an endpoint elsewhere, where only those on this node count: nothing is looked at",
			was:  []port{{name: "dns", at: "vip:53", scope: service.Node}},
			is:   []port{{name: "dns", at: "vip:53", to: "c:53", scope: service.Node}},
			stay: []string{"udp vip:53"}, noDump: true,
		},
		{
			name: "a Service gets another virtual IP",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53 vip2:53", to: "a:53"}},
			gone: []string{"udp vip2:53"}, stay: []string{"udp vip2:53 a:53"},
		},
		{
			name: "a node port comes: flows to the node go, those to other machines stay",
			was:  []port{{name: "dns", at: "vip:53", to: "a:53"}}, is: []port{{name: "dns", at: "vip:53 :30053", to: "a:53"}},
			gone: []string{"udp node:30053"}, stay: []string{"udp node2:30053", "udp away:30053"},
		},
		{
			name: "a Service without endpoints: its flows stay, as the rules refuse what has had no reply",
			is:   []port{{name: "dns", at: "vip:53"}, {name: "other", at: "vip2:53", to: "a:53"}},
			gone: []string{"udp vip2:53"}, stay: []string{"udp vip:53"},
		},
		{
			name: "a Service goes: untranslated flows are somebody else's and stay",
			was:  []port{{name: "dns", at: "vip:53 :30053", to: "a:53"}},
			stay: []string{"udp vip:53", "udp node:30053"},
		},
	})
}

func TestFlowsOfTCPOnRequest(t *testing.T) {
	web := func(to string) []port {
		return []port{{name: "web", protocol: service.TCP, at: "vip:80 :30080", to: to}}
	}
	testChanges(t, []change{
		{
			name: "not requested: a TCP endpoint goes and nothing is looked at",
			was:  web("a:80 b:80"), is: web("b:80"), stay: []string{"tcp vip:80 a:80 opening"}, noDump: true,
		},
		{
			name: "requested: connections that are being opened to an endpoint that is gone go, all others stay",
			was:  web("a:80 b:80"), is: web("b:80"), unrepliedTCP: true,
			gone: []string{"tcp vip:80 a:80 opening", "tcp node:30080 a:80 opening"},
			stay: []string{"tcp vip:80 a:80", "tcp vip:80 b:80 opening", "tcp a:80 opening", "tcp vip2:80 a:80 opening"},
		},
		{
			name: "requested: the Service goes",
			was:  web("a:80"), unrepliedTCP: true,
			gone: []string{"tcp vip:80 a:80 opening"}, stay: []string{"tcp vip:80 a:80"},
		},
		{
			name: "requested: SCTP is left alone",
			was:  []port{{name: "m3ua", protocol: service.SCTP, at: "vip:2905", to: "a:2905"}}, is: []port{{name: "m3ua", protocol: service.SCTP, at: "vip:2905"}},
			unrepliedTCP: true, stay: []string{"sctp vip:2905 a:2905 opening"}, noDump: true,
		},
		{
			name: "requested: an endpoint comes and nothing is looked at",
			was:  web("a:80"), is: web("a:80 b:80"), unrepliedTCP: true, noDump: true,
		},
	})
}

func TestFlowsAtTheStart(t *testing.T) {
	testChanges(t, []change{
		{
			name: "everything is looked at",
			is:   []port{{name: "dns", at: "vip:53 :30053", to: "a:53", serving: "a:53 b:53"}, {name: "web", protocol: service.TCP, at: "vip:80", to: "a:80"}},
			gone: []string{"udp vip:53", "udp vip:53 c:53", "udp node:30053 c:53", "tcp vip:80 opening"},
			stay: []string{"udp vip:53 a:53", "udp vip:53 b:53", "udp vip2:53 c:53", "udp node2:30053", "tcp vip:80 c:80", "tcp vip:80 c:80 opening"}, unknown: true,
		},
		{name: "a node without Services reads nothing", stay: []string{"udp vip:53"}, unknown: true, noDump: true},
	})
}

func TestFlowsOfNodePortsFollowTheNodesAddresses(t *testing.T) {
	for _, f := range families {
		flows, k := testFlows(f, Options{}, "udp node:30053", "udp node2:30053", "udp vip:53", "udp node:30053 a:53", "udp node:30053 b:53")
		was, is := buildTable(f, port{name: "dns", at: "vip:53 :30053", to: "a:53"}), buildTable(f, port{name: "dns", at: "vip:53 :30053", to: "a:53"})
		was.NodePorts.All, is.NodePorts.All = false, false
		is.NodePorts.Listed = append(is.NodePorts.Listed, at(f, "node:1").Addr(), at(f, "node2:1").Addr())
		if err := flows.Synced(t.Context(), was, is, service.PortSet{}); err != nil {
			t.Fatal(err)
		}
		// node2 is listed, but not the node's any more.
		if want := []string{"udp node:30053", "udp vip:53", "udp node:30053 b:53"}; !slices.Equal(k.removed, want) {
			t.Errorf("%s: deleted %q, want %q", f, k.removed, want)
		}
	}
}

func TestFlowsReadOneProtocolWhereThatIsEnough(t *testing.T) {
	dns := func(to string) port { return port{name: "dns", at: "vip:53", to: to} }
	web := func(to string) port { return port{name: "web", protocol: service.TCP, at: "vip:80", to: to} }
	tests := []struct {
		name    string
		was, is []port
		want    service.Protocol
	}{
		{"a UDP endpoint goes", []port{dns("a:53"), web("a:80")}, []port{dns(""), web("a:80")}, service.UDP},
		{"a TCP endpoint goes with it", []port{dns("a:53"), web("a:80")}, []port{dns(""), web("")}, service.UDP},
		{"a TCP port gets its first endpoint with it", []port{dns("a:53"), web("")}, []port{dns(""), web("a:80")}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			flows, k := testFlows(service.IPv4, Options{})
			was, is := buildTable(service.IPv4, test.was...), buildTable(service.IPv4, test.is...)
			if err := flows.Synced(t.Context(), was, is, differences(was, is)); err != nil {
				t.Fatal(err)
			}
			if k.asked != test.want {
				t.Errorf("asked for %s, want %s", k.asked, test.want)
			}
		})
	}
}

// TestFlowsRemembersWhatFailed lets a call fail and looks at what the next one makes good, which by itself had nothing to do.
func TestFlowsRemembersWhatFailed(t *testing.T) {
	dns := func(at, to string) port { return port{name: "dns", at: at, to: to} }
	tests := []struct {
		name   string
		tables [][]port
		gone   []string
	}{
		{"an endpoint that went", [][]port{{dns("vip:53", "a:53 b:53")}, {dns("vip:53", "b:53")}, {dns("vip:53", "b:53 c:53")}}, []string{"udp vip:53 a:53", "udp vip:53"}},
		{"a Service that went", [][]port{{dns("vip:53", "a:53")}, {}, {}}, []string{"udp vip:53 a:53"}},
		{"a Service that came and went", [][]port{{}, {dns("vip:53", "a:53")}, {}}, []string{"udp vip:53 a:53"}},
		{"an endpoint that came back", [][]port{{dns("vip:53", "a:53")}, {dns("vip:53", "")}, {dns("vip:53", "a:53")}}, []string{"udp vip:53"}},
		{"a virtual IP that went from one to another", [][]port{
			{dns("vip:53", "a:53")}, {{name: "new", at: "vip:53"}}, {{name: "new", at: "vip:53", to: "c:53"}},
		}, []string{"udp vip:53 a:53", "udp vip:53"}},
	}
	failures := map[string]func(*fakeKernel){
		"the dump fails":       func(k *fakeKernel) { k.errs = []error{unix.ENOBUFS} },
		"every deletion fails": func(k *fakeKernel) { k.stuck = unix.EBUSY },
	}
	for what, fail := range failures {
		for _, test := range tests {
			t.Run(what+"/"+test.name, func(t *testing.T) {
				const f = service.IPv4
				flows, k := testFlows(f, Options{}, "udp vip:53 a:53", "udp vip:53", "udp vip2:53 a:53")
				var tables []*service.Table
				for _, ports := range test.tables {
					tables = append(tables, buildTable(f, ports...))
				}
				fail(k)
				err := flows.Synced(t.Context(), tables[0], tables[1], differences(tables[0], tables[1]))
				if err == nil {
					t.Fatal("no error")
				}
				k.stuck, k.errs = nil, nil
				if err := flows.Synced(t.Context(), tables[1], tables[2], differences(tables[1], tables[2])); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(k.removed, test.gone) {
					t.Errorf("deleted %q, want %q", k.removed, test.gone)
				}
				dumps := k.dumps
				if err := flows.Synced(t.Context(), tables[2], tables[2], service.PortSet{}); err != nil || k.dumps != dumps {
					t.Errorf("after success there was still something to do; error %v", err)
				}
			})
		}
	}
}

func TestFlowsAfterAFailedStart(t *testing.T) {
	flows, k := testFlows(service.IPv6, Options{}, "udp vip:53 a:53", "udp vip2:53 a:53")
	is := buildTable(service.IPv6, port{name: "dns", at: "vip:53", to: "b:53"}, port{name: "other", at: "vip2:53", to: "b:53"})
	k.errs = []error{unix.EPERM}
	if err := flows.Synced(t.Context(), nil, is, nil); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("got %v", err)
	}
	if err := flows.Synced(t.Context(), is, is, service.PortSet{}); err != nil {
		t.Fatal(err)
	}
	if len(k.removed) != 2 {
		t.Errorf("deleted only %q", k.removed)
	}
}

func TestFlowsWithInterruptedDumps(t *testing.T) {
	was, is := buildTable(service.IPv4, port{name: "dns", at: "vip:53", to: "a:53"}), buildTable(service.IPv4, port{name: "dns", at: "vip:53"})
	tests := []struct {
		name         string
		interrupted  int
		dumps        int
		fails, after bool // it fails; and the next call has something to do
	}{
		{"one interruption is made good", 1, 2, false, false},
		{"too many are an error, but what was found is deleted", attempts + 1, attempts, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			flows, k := testFlows(service.IPv4, Options{}, "udp vip:53 a:53")
			k.errs = slices.Repeat([]error{errInterrupted}, test.interrupted)
			err := flows.Synced(t.Context(), was, is, differences(was, is))
			if failed := errors.Is(err, errInterrupted); failed != test.fails {
				t.Errorf("error %v", err)
			}
			if k.dumps != test.dumps || len(k.removed) != 1 {
				t.Errorf("%d dumps, want %d; deleted %q", k.dumps, test.dumps, k.removed)
			}
			k.errs = nil
			if err := flows.Synced(t.Context(), is, is, service.PortSet{}); err != nil || (k.dumps > test.dumps) != test.after {
				t.Errorf("the next call: %d dumps in all, error %v", k.dumps, err)
			}
		})
	}
}

func TestFlowsEndWithTheContext(t *testing.T) {
	flows, k := testFlows(service.IPv4, Options{}, "udp vip:53 a:53")
	was, is := buildTable(service.IPv4, port{name: "dns", at: "vip:53", to: "a:53"}), buildTable(service.IPv4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := flows.Synced(ctx, was, is, differences(was, is)); !errors.Is(err, context.Canceled) || len(k.removed) > 0 {
		t.Errorf("error %v, deleted %q", err, k.removed)
	}
}

// TestFlowsKeepLittleWhereNothingEverWorks lets node ports come and go on a kernel without the interface.
func TestFlowsKeepLittleWhereNothingEverWorks(t *testing.T) {
	flows, k := testFlows(service.IPv4, Options{}, "udp vip:53 a:53")
	is := buildTable(service.IPv4, port{name: "dns", at: "vip:53", to: "b:53"})
	for i := range mostKept {
		flows.left.frontends[nodePort(service.TCP+service.Protocol(i>>15), uint16(i))] = struct{}{}
	}
	k.errs = []error{unix.EINVAL}
	if err := flows.Synced(t.Context(), is, is, nil); err == nil {
		t.Fatal("no error")
	}
	if kept := len(flows.left.frontends) + len(flows.left.ports); kept > 1 {
		t.Errorf("%d are kept", kept)
	}
	if err := flows.Synced(t.Context(), is, is, service.PortSet{}); err != nil || len(k.removed) != 1 {
		t.Errorf("what there is now is forgotten: error %v, deleted %q", err, k.removed)
	}
}

func TestASweepIsObservedWithWhatItDeletes(t *testing.T) {
	var sweeps []Sweep
	options := Options{Observe: func(s Sweep) { sweeps = append(sweeps, s) }}
	flows, k := testFlows(service.IPv4, options, "udp vip:53 c:53", "udp vip:53", "tcp vip:80 opening", "tcp vip:80 c:80")
	ports := []port{{name: "dns", at: "vip:53", to: "a:53"}, {name: "web", protocol: service.TCP, at: "vip:80", to: "a:80"}}
	if err := flows.Synced(t.Context(), nil, buildTable(service.IPv4, ports...), nil); err != nil {
		t.Fatal(err)
	}
	want := map[Deleted]int{{service.UDP, EndpointGone}: 1, {service.UDP, NotTranslated}: 1, {service.TCP, NotTranslated}: 1}
	if len(sweeps) != 1 || !maps.Equal(sweeps[0].Deleted, want) || len(k.removed) != 3 {
		t.Errorf("observed %v for %q, want %v", sweeps, k.removed, want)
	}
}
