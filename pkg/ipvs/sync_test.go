package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// step changes what there is, and says what the kernel holds after the next Sync.
type step struct {
	change func(s *stage)
	want   string
}

// run takes a stage through steps. At the end everything is as a Sync of everything would have it, which therefore writes nothing.
func run(t *testing.T, steps []step) {
	forBoth(t, func(s *stage) {
		for i, step := range steps {
			step.change(s)
			s.sync()
			s.want(fmt.Sprintf("step %d", i+1), step.want)
			s.take()
			s.resync()
			s.wantWrites(fmt.Sprintf("step %d, once more", i+1), "")
		}
	})
}

var http, dns = []string{"80"}, []string{"53/UDP"}

const served = `
	route web
	server web,tcp:80 > away1:8080 weight 1
	server web,tcp:80 > here1:8080 weight 1
	server web,tcp:80 rr
	set HAIRPIN here1
	set VIRTUAL web,tcp:80`

// cluster is what serveWeb asks for.
const cluster = served + "\n set MASQ-OUTSIDE web,tcp:80"

func serveWeb(s *stage) {
	s.service("web", http)
	s.slice("web", []string{"8080"}, "here1", "away1")
}

func deleteService(name string) func(*stage) {
	return func(s *stage) { s.builder.DeleteService(servicetest.Namespace, name) }
}

func nodePortsAt(names ...string) func(*stage) {
	return func(s *stage) {
		var list []netip.Addr
		for _, name := range names {
			list = append(list, s.addr(name))
		}
		s.builder.SetNodePorts(service.NodeAddresses{Listed: list})
	}
}

func TestFrontends(t *testing.T) {
	const nodePort = `
		route %[1]s
		server %[1]s,tcp:30080 > away1:8080 weight 1
		server %[1]s,tcp:30080 > here1:8080 weight 1
		server %[1]s,tcp:30080 rr
		set VIRTUAL %[1]s,tcp:30080
		set MASQ-ALL %[1]s,tcp:30080`
	at := func(name string) string { return fmt.Sprintf(nodePort, name) }
	withNodePort := func(s *stage) { serveWeb(s); s.service("web", []string{"80=30080"}) }
	tests := []struct {
		name  string
		steps []step
	}{
		{"a cluster IP is a virtual server with its endpoints and a route, and gone with its Service", []step{
			{serveWeb, cluster},
			{deleteService("web"), ""},
		}},
		{"a node port is a virtual server on each listed address, which come and go", []step{
			{withNodePort, cluster + at("node")},
			{nodePortsAt("node", "node2"), cluster + at("node") + at("node2")},
			{nodePortsAt("node2"), cluster + at("node2")},
			{nodePortsAt(), cluster},
			{nodePortsAt("node"), cluster + at("node")},
			{func(s *stage) { s.service("web", http) }, cluster},
		}},
		{"a virtual IP that is the node's own address goes before a node port, which comes back after it", []step{
			{withNodePort, cluster + at("node")},
			{func(s *stage) {
				s.service("api", []string{"30080"}, external(s, "node"))
				s.slice("api", []string{"9090"}, "away2")
			}, cluster + `
				route api
				server api,tcp:30080 > away2:9090 weight 1
				server api,tcp:30080 rr
				set MASQ-OUTSIDE api,tcp:30080
				set VIRTUAL api,tcp:30080
				route node
				server node,tcp:30080 > away2:9090 weight 1
				server node,tcp:30080 rr
				set MASQ-ALL node,tcp:30080
				set VIRTUAL node,tcp:30080`},
			{deleteService("api"), cluster + at("node")},
		}},
		{"two ports of an address share its route, which goes with the second", []step{
			{func(s *stage) {
				s.service("web", []string{"a:80", "b:81"})
				s.slice("web", []string{"a:8080", "b:8081"}, "away1")
			}, `
				route web
				server web,tcp:80 > away1:8080 weight 1
				server web,tcp:80 rr
				server web,tcp:81 > away1:8081 weight 1
				server web,tcp:81 rr
				set MASQ-OUTSIDE web,tcp:80
				set MASQ-OUTSIDE web,tcp:81
				set VIRTUAL web,tcp:80
				set VIRTUAL web,tcp:81`},
			{func(s *stage) { s.service("web", []string{"b:81"}) }, `
				route web
				server web,tcp:81 > away1:8081 weight 1
				server web,tcp:81 rr
				set MASQ-OUTSIDE web,tcp:81
				set VIRTUAL web,tcp:81`},
			{deleteService("web"), ""},
		}},
		{"an address goes from one Service to another, and its endpoints with it", []step{
			{func(s *stage) {
				serveWeb(s)
				s.service("api", []string{"81"}, external(s, "ext"))
				s.slice("api", []string{"9090"}, "away2")
			}, cluster + `
				route api
				server api,tcp:81 > away2:9090 weight 1
				server api,tcp:81 rr
				set MASQ-OUTSIDE api,tcp:81
				set VIRTUAL api,tcp:81
				route ext
				server ext,tcp:81 > away2:9090 weight 1
				server ext,tcp:81 rr
				set MASQ-ALL ext,tcp:81
				set VIRTUAL ext,tcp:81`},
			{func(s *stage) {
				s.builder.DeleteService(servicetest.Namespace, "api")
				s.service("web", []string{"81"}, external(s, "ext"))
			}, `
				route web
				server web,tcp:81 > away1:8080 weight 1
				server web,tcp:81 > here1:8080 weight 1
				server web,tcp:81 rr
				set HAIRPIN here1
				set VIRTUAL web,tcp:81
				set MASQ-OUTSIDE web,tcp:81
				route ext
				server ext,tcp:81 > away1:8080 weight 1
				server ext,tcp:81 > here1:8080 weight 1
				server ext,tcp:81 rr
				set VIRTUAL ext,tcp:81
				set MASQ-ALL ext,tcp:81`},
		}},
		{"the protocol is part of the address", []step{
			{func(s *stage) {
				s.service("dns", []string{"udp:53/UDP", "tcp:53", "sctp:53/SCTP"})
				s.slice("dns", []string{"udp:5353/UDP", "tcp:5354", "sctp:5355/SCTP"}, "away1")
			}, `
				route dns
				server dns,sctp:53 > away1:5355 weight 1
				server dns,sctp:53 rr
				server dns,tcp:53 > away1:5354 weight 1
				server dns,tcp:53 rr
				server dns,udp:53 > away1:5353 weight 1
				server dns,udp:53 rr
				set MASQ-OUTSIDE dns,sctp:53
				set MASQ-OUTSIDE dns,tcp:53
				set MASQ-OUTSIDE dns,udp:53
				set VIRTUAL dns,sctp:53
				set VIRTUAL dns,tcp:53
				set VIRTUAL dns,udp:53`},
		}},
		{"a port on which load balancers ask for the node's health is let in", []step{
			{func(s *stage) {
				svc := s.plain("web", "80")
				balancer(s)(svc)
				externalLocal(svc)
				svc.Spec.HealthCheckNodePort = 32000
				svc.Status.LoadBalancer.Ingress = nil
				s.builder.SetService(svc)
			}, "set HEALTH 32000 \n set REJECT web,tcp:80"},
			{deleteService("web"), ""},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { run(t, test.steps) })
	}
}

func TestTrafficPolicies(t *testing.T) {
	const (
		ext = `
			route ext
			server ext,tcp:80 > away1:8080 weight 1
			server ext,tcp:80 > here1:8080 weight 1
			server ext,tcp:80 rr
			set MASQ-ALL ext,tcp:80
			set VIRTUAL ext,tcp:80`
		inside = `
			route ext~
			server ext~,tcp:80 > away1:8080 weight 1
			server ext~,tcp:80 > here1:8080 weight 1
			server ext~,tcp:80 rr
			set INSIDE ext,tcp:80`
		extLocal = `
			route ext
			server ext,tcp:80 > here1:8080 weight 1
			server ext,tcp:80 rr
			set VIRTUAL ext,tcp:80`
	)
	toCluster := func(s *stage) { serveWeb(s); s.service("web", http, external(s, "ext")) }
	toLocal := func(s *stage) { s.service("web", http, external(s, "ext"), externalLocal) }
	away := func(s *stage) { s.slice("web", []string{"8080"}, "away1") }
	both := func(s *stage) { s.slice("web", []string{"8080"}, "here1", "away1") }
	const (
		clusterAway = `
			route web
			server web,tcp:80 > away1:8080 weight 1
			server web,tcp:80 rr
			set VIRTUAL web,tcp:80
			set MASQ-OUTSIDE web,tcp:80`
		insideAway = `
			route ext~
			server ext~,tcp:80 > away1:8080 weight 1
			server ext~,tcp:80 rr
			set INSIDE ext,tcp:80
			set DROP ext,tcp:80`
		refused = "set REJECT web,tcp:80 \n set REJECT ext,tcp:80"
	)
	tests := []struct {
		name  string
		steps []step
	}{
		{"internal Local: the cluster IP has local endpoints only, and drops without any", []step{
			{serveWeb, cluster},
			{func(s *stage) { s.service("web", http, internalLocal) }, `
				route web
				server web,tcp:80 > here1:8080 weight 1
				server web,tcp:80 rr
				set HAIRPIN here1
				set VIRTUAL web,tcp:80
				set MASQ-OUTSIDE web,tcp:80`},
			{away, "set DROP web,tcp:80"},
			{both, `
				route web
				server web,tcp:80 > here1:8080 weight 1
				server web,tcp:80 rr
				set HAIRPIN here1
				set VIRTUAL web,tcp:80
				set MASQ-OUTSIDE web,tcp:80`},
			{func(s *stage) { s.service("web", http) }, cluster},
		}},
		{"external Local: pods and the node have a virtual server of their own, with all endpoints, as long as the policy holds", []step{
			{toCluster, cluster + ext},
			{toLocal, cluster + extLocal + inside},
			{toCluster, cluster + ext},
			{toLocal, cluster + extLocal + inside},
			{deleteService("web"), ""},
		}},
		{"external Local without local endpoints: outsiders are dropped, pods are not", []step{
			{func(s *stage) { toCluster(s); toLocal(s) }, cluster + extLocal + inside},
			{away, clusterAway + insideAway},
			{both, cluster + extLocal + inside},
			{away, clusterAway + insideAway},
			{func(s *stage) { s.slice("web", nil) }, refused},
			{away, clusterAway + insideAway},
			{toCluster, cluster + ext},
			{func(s *stage) { toLocal(s); away(s) }, clusterAway + insideAway},
			{deleteService("web"), ""},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { run(t, test.steps) })
	}
}

func TestServicesWithoutEndpoints(t *testing.T) {
	refused := "set REJECT web,tcp:80"
	none := func(s *stage) { s.slice("web", nil) }
	tests := []struct {
		name  string
		steps []step
	}{
		{"refused until there are some, and again when they are gone", []step{
			{func(s *stage) { s.service("web", http) }, refused},
			{serveWeb, cluster},
			{none, refused},
			{serveWeb, cluster},
			{func(s *stage) { none(s); deleteService("web")(s) }, ""},
		}},
		{"source ranges do not matter while there are none", []step{
			{func(s *stage) { s.service("web", http, balancer(s, "office")) }, refused + "\n set REJECT lb,tcp:80"},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { run(t, test.steps) })
	}
}

func TestSourceRanges(t *testing.T) {
	const lb = served + `
		set MASQ-OUTSIDE web,tcp:80
		route lb
		server lb,tcp:80 > away1:8080 weight 1
		server lb,tcp:80 > here1:8080 weight 1
		server lb,tcp:80 rr
		set MASQ-ALL lb,tcp:80
		set VIRTUAL lb,tcp:80`
	ranged := func(names ...string) func(*stage) {
		return func(s *stage) { serveWeb(s); s.service("web", http, balancer(s, names...)) }
	}
	run(t, []step{
		{ranged(), lb},
		{ranged("office"), lb + "\n set RANGED lb,tcp:80 \n set ADMITTED lb,tcp:80,office/*"},
		{ranged("office", "branch"), lb + "\n set RANGED lb,tcp:80 \n set ADMITTED lb,tcp:80,office/* \n set ADMITTED lb,tcp:80,branch/*"},
		{ranged("branch"), lb + "\n set RANGED lb,tcp:80 \n set ADMITTED lb,tcp:80,branch/*"},
		{func(s *stage) {
			svc := s.plain("web", "80")
			balancer(s)(svc)
			svc.Spec.LoadBalancerSourceRanges = []string{"nonsense"}
			s.builder.SetService(svc)
		}, lb + "\n set RANGED lb,tcp:80"},
		{ranged(), lb},
		{deleteService("web"), ""},
	})
}

func TestWhoIsMasqueraded(t *testing.T) {
	tests := []struct {
		name    string
		options service.Options
		change  func(s *stage)
		want    []string
	}{
		{"outsiders at a cluster IP, everybody elsewhere, where pods are known", service.Options{Pods: service.LocalTraffic{Interface: "cni0"}}, func(*stage) {},
			[]string{"set MASQ-ALL ext,tcp:80", "set MASQ-OUTSIDE web,tcp:80"}},
		{"nobody but hairpins at a cluster IP where pods are not known", service.Options{}, func(*stage) {}, []string{"set MASQ-ALL ext,tcp:80"}},
		{"everybody, if asked for", service.Options{MasqueradeAll: true}, func(*stage) {}, []string{"set MASQ-ALL ext,tcp:80", "set MASQ-ALL web,tcp:80"}},
		{"outsiders keep their address under external Local", service.Options{MasqueradeAll: true}, func(s *stage) {
			s.service("web", http, external(s, "ext"), externalLocal)
		}, []string{"set MASQ-ALL web,tcp:80"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				test.options.Family, test.options.NodeName = s.family, servicetest.Node
				s.builder = service.NewBuilder(test.options)
				s.builder.SetNodePorts(service.NodeAddresses{})
				serveWeb(s)
				s.service("web", http, external(s, "ext"))
				test.change(s)
				s.sync()
				got := slices.DeleteFunc(s.state(), func(line string) bool { return !strings.HasPrefix(line, "set MASQ") })
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

// TestWhatGoesFirst holds the order of writes against pairs of which the first has to come before the second. That packets are led to
// nowhere at no time every stage watches by itself.
func TestWhatGoesFirst(t *testing.T) {
	ranged := func(name string) func(*stage) {
		return func(s *stage) { serveWeb(s); s.service("web", http, balancer(s, name)) }
	}
	policy := func(change func(s *stage)) func(*stage) {
		return func(s *stage) { serveWeb(s); s.slice("web", []string{"8080"}, "away1"); change(s) }
	}
	toCluster := policy(func(s *stage) { s.service("web", http, external(s, "ext")) })
	toLocal := policy(func(s *stage) { s.service("web", http, external(s, "ext"), externalLocal) })
	tests := []struct {
		name   string
		is     func(*stage) // before
		change func(*stage)
		order  [][2]string
	}{
		{"from the first sync on, rules stand before the first virtual server, and sets before the rules", func(*stage) {}, serveWeb, [][2]string{
			{"set VIRTUAL created", "rules replaced"}, {"set REJECT created", "rules replaced"}, {"rules replaced", "server web,tcp:80 added"}, {"rule added", "server web,tcp:80 added"},
		}},
		{"a virtual server stands before packets are led to it", func(s *stage) { s.service("web", http) }, serveWeb, [][2]string{
			{"route web added", "set VIRTUAL + web,tcp:80"},
			{"server web,tcp:80 added", "server web,tcp:80: real here1:8080 added, weight 1"},
			{"server web,tcp:80: real here1:8080 added, weight 1", "set VIRTUAL + web,tcp:80"},
			{"server web,tcp:80: real away1:8080 added, weight 1", "set VIRTUAL + web,tcp:80"},
			{"set HAIRPIN + here1", "server web,tcp:80: real here1:8080 added, weight 1"},
			{"set MASQ-OUTSIDE + web,tcp:80", "set VIRTUAL + web,tcp:80"},
			{"set VIRTUAL + web,tcp:80", "set REJECT - web,tcp:80"},
		}},
		{"packets are led to a virtual server no more before it goes", serveWeb, deleteService("web"), [][2]string{
			{"set VIRTUAL - web,tcp:80", "server web,tcp:80 deleted"}, {"server web,tcp:80 deleted", "route web deleted"},
			{"set VIRTUAL - web,tcp:80", "set MASQ-OUTSIDE - web,tcp:80"}, {"server web,tcp:80 deleted", "set HAIRPIN - here1"},
		}},
		{"new endpoints come before old ones go", serveWeb, func(s *stage) { s.slice("web", []string{"8080"}, "here2", "away2") }, [][2]string{
			{"server web,tcp:80: real here2:8080 added, weight 1", "server web,tcp:80: real here1:8080 weight 0"},
			{"server web,tcp:80: real away2:8080 added, weight 1", "server web,tcp:80: real away1:8080 weight 0"},
		}},
		{"a refusal stands before the last endpoint goes", serveWeb, func(s *stage) { s.slice("web", nil) }, [][2]string{
			{"set REJECT + web,tcp:80", "server web,tcp:80: real here1:8080 weight 0"}, {"set REJECT + web,tcp:80", "set VIRTUAL - web,tcp:80"},
		}},
		{"clients are admitted before others are shut out, and nobody is led there before that", func(s *stage) { s.service("web", http) }, ranged("office"), [][2]string{
			{"set ADMITTED + lb,tcp:80,office/*", "set RANGED + lb,tcp:80"}, {"set RANGED + lb,tcp:80", "set VIRTUAL + lb,tcp:80"},
		}},
		{"new clients are admitted before the old ones are not", ranged("office"), ranged("branch"), [][2]string{
			{"set ADMITTED + lb,tcp:80,branch/*", "set ADMITTED - lb,tcp:80,office/*"},
		}},
		{"others are let in before the list of clients goes", ranged("office"), func(s *stage) { s.service("web", http, balancer(s)) }, [][2]string{
			{"set RANGED - lb,tcp:80", "set ADMITTED - lb,tcp:80,office/*"},
		}},
		{"packets stop before nobody is shut out any more", ranged("office"), deleteService("web"), [][2]string{
			{"set VIRTUAL - lb,tcp:80", "set RANGED - lb,tcp:80"}, {"set RANGED - lb,tcp:80", "set ADMITTED - lb,tcp:80,office/*"},
		}},
		{"external Local: pods have their virtual server before outsiders are dropped", toCluster, toLocal, [][2]string{
			{"server ext~,tcp:80: real away1:8080 added, weight 1", "set INSIDE + ext,tcp:80"}, {"route ext~ added", "set INSIDE + ext,tcp:80"},
			{"set INSIDE + ext,tcp:80", "set DROP + ext,tcp:80"}, {"set DROP + ext,tcp:80", "server ext,tcp:80: real away1:8080 weight 0"},
		}},
		{"external Cluster again: nobody is dropped before pods lose their virtual server", toLocal, toCluster, [][2]string{
			{"set VIRTUAL + ext,tcp:80", "set DROP - ext,tcp:80"}, {"set DROP - ext,tcp:80", "set INSIDE - ext,tcp:80"}, {"set INSIDE - ext,tcp:80", "server ext~,tcp:80 deleted"},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				test.is(s)
				s.sync()
				// The first case begins with a kernel that nobody has touched.
				if len(s.state()) > 0 {
					s.take()
				}
				test.change(s)
				s.sync()
				s.wantOrder(test.order)
			})
		})
	}
}

func (s *stage) wantOrder(pairs [][2]string) {
	s.t.Helper()
	journal := s.take()
	for _, p := range pairs {
		first, second := slices.Index(journal, p[0]), slices.Index(journal, p[1])
		if first < 0 || second < 0 || first > second {
			s.t.Errorf("want %q before %q; written:\n%s", p[0], p[1], strings.Join(journal, "\n"))
		}
	}
}

func TestAChangeWritesNothingElse(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("api", []string{"81=30081"}, external(s, "ext"))
		s.slice("api", []string{"9090"}, "away2")
		s.sync()
		s.take()
		s.slice("web", []string{"8080"}, "here1", "away1", "away2")
		calls := s.kernel.calls
		s.sync()
		s.wantWrites("one endpoint more", "server web,tcp:80: real away2:8080 added, weight 1")
		if n := s.kernel.calls - calls; n > 1 {
			s.t.Errorf("%d calls for one endpoint", n)
		}
	})
}

func TestARestartWithNothingChangedWritesNothing(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("api", []string{"81=30081"}, external(s, "ext"), balancer(s, "office"), externalLocal, affinity(60))
		s.slice("api", []string{"9090"}, "away2")
		s.sync()
		s.take()
		s.restart()
		s.resync()
		s.wantWrites("after a restart", "")
	})
}

func TestARestartRemovesWhatIsOutOfDate(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("api", []string{"81=30081"}, external(s, "ext"), balancer(s, "office"), externalLocal)
		s.slice("api", []string{"9090"}, "away2")
		s.sync()
		deleteService("api")(s)
		s.restart()
		s.resync()
		s.want("after a restart", cluster)
	})
}

func TestNodesDoNotAllBeginWithTheSameEndpoint(t *testing.T) {
	firsts := map[string]struct{}{}
	for range 10 {
		s := newStage(t, service.IPv4)
		s.service("web", http)
		var list []string
		for i := range 10 {
			list = append(list, fmt.Sprintf("10.244.3.%d@%s", i+1, servicetest.OtherNode))
		}
		s.builder.SetSlice(servicetest.Slice("web", "web", []string{"8080"}, list...))
		s.sync()
		for _, line := range s.take() {
			if strings.Contains(line, ": real ") {
				firsts[line] = struct{}{}
				break
			}
		}
	}
	if len(firsts) < 2 {
		t.Errorf("all nodes add first: %v", firsts)
	}
}

func TestWithoutIPVSNothingIsTouched(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.noIPVS = ErrNoIPVS
		serveWeb(s)
		if err := s.resyncError(); !errors.Is(err, ErrNoIPVS) {
			s.t.Errorf("got %v", err)
		}
		s.wantWrites("without IPVS", "")
		s.kernel.noIPVS = nil
		s.resync()
		s.want("when IPVS is there", cluster)
	})
}

func TestSettingsThatCannotBeSetStopNoSync(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.readOnly = errors.New("read-only file system")
		serveWeb(s)
		s.sync()
		s.want("without the settings", cluster)
	})
}
