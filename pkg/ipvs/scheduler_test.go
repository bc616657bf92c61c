package ipvs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

func TestHowConnectionsAreSpread(t *testing.T) {
	const around = `
		route web
		set MASQ-OUTSIDE web,tcp:80
		set VIRTUAL web,tcp:80
		set HAIRPIN here1`
	const both = "\n server web,tcp:80 > here1:8080 weight 1 \n server web,tcp:80 > away1:8080 weight 1 \n"
	annotate := func(pairs ...string) func(*stage) {
		return func(s *stage) { serveWeb(s); s.service("web", http, annotated(pairs...)) }
	}
	run(t, []step{
		{serveWeb, around + both + "server web,tcp:80 rr"},
		{func(s *stage) { s.service("web", http, affinity(120)) }, around + both + "server web,tcp:80 rr flags 0x1 timeout 2m0s"},
		{func(s *stage) { s.service("web", http, affinity(86400)) }, around + both + "server web,tcp:80 rr flags 0x1 timeout 24h0m0s"},
		{annotate(service.AnnotationScheduler, "lc"), around + both + "server web,tcp:80 lc"},
		{annotate(service.AnnotationScheduler, "sh", service.AnnotationSchedulerFlags, "sh-fallback"), around + both + "server web,tcp:80 sh flags 0x8"},
		{annotate(service.AnnotationScheduler, "mh", service.AnnotationSchedulerFlags, "mh-port,mh-fallback"), around + both + "server web,tcp:80 mh flags 0x18"},
		{annotate(service.AnnotationScheduler, "fastest"), around + both + "server web,tcp:80 rr"},
		{annotate(service.AnnotationScheduler, "wrr", service.AnnotationWeights, "node/node-1=5,*=2"), around + `
			server web,tcp:80 > here1:8080 weight 5
			server web,tcp:80 > away1:8080 weight 2
			server web,tcp:80 wrr`},
		{serveWeb, around + both + "server web,tcp:80 rr"},
	})
}

func TestTheSecondVirtualServerSpreadsConnectionsAlike(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.service("web", http, external(s, "ext"), externalLocal, affinity(60))
		s.sync()
		first, second := s.kernel.servers[s.key("ext,tcp:80")].virtualServer, s.kernel.servers[alias(s.key("ext,tcp:80"))].virtualServer
		second.key = first.key
		if first != second || first.flags&flagPersistent == 0 {
			s.t.Errorf("everybody has %+v, pods have %+v", first, second)
		}
	})
}

func TestAChangeOfSchedulerKeepsTheRealServers(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.sync()
		s.take()
		s.service("web", http, annotated(service.AnnotationScheduler, "lc"))
		s.sync()
		s.wantWrites("another scheduler", "server web,tcp:80 changed")
	})
}

func TestASchedulerThatIsMissing(t *testing.T) {
	const said = "web SchedulerMissing: the node's kernel has no IPVS scheduler mh, and rr is used instead; load the kernel module ip_vs_mh on the node"
	tests := []struct {
		name   string
		do     func(s *stage) // to a kernel without mh
		want   string
		events []string
	}{
		{"the node's scheduler takes its place, without the flags of the other, and the Service's owner is told once",
			func(s *stage) { s.resync(); s.resync() }, cluster, []string{said}},
		{"once for all ports of a Service", func(s *stage) {
			s.service("web", []string{"80", "b:81"}, external(s, "ext"), annotated(service.AnnotationScheduler, "mh"))
			s.sync()
			s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
			s.sync()
		}, cluster, []string{said}},
		{"a change to it is written as well", func(s *stage) {
			s.service("web", http)
			s.sync()
			s.service("web", http, annotated(service.AnnotationScheduler, "mh"))
			s.sync()
		}, cluster, []string{said}},
		{"over somebody else's virtual server too", func(s *stage) {
			s.service("web", http)
			s.slice("web", nil)
			s.sync()
			s.kernel.lacking = append(s.kernel.lacking, "sh")
			s.put("web,tcp:80", 0)
			serveWeb(s)
			s.service("web", http, annotated(service.AnnotationScheduler, "sh"))
			s.sync()
		}, cluster, []string{said, strings.ReplaceAll(said, "mh", "sh")}},
		{"when the kernel has it, it is used", func(s *stage) { s.kernel.lacking = nil; s.resync() },
			strings.Replace(cluster, "tcp:80 rr", "tcp:80 mh flags 0x18", 1), []string{said}},
		{"others go on", func(s *stage) {
			s.service("dns", dns)
			s.slice("dns", []string{"5353/UDP"}, "away1")
			s.sync()
		}, cluster + `
			route dns
			server dns,udp:53 > away1:5353 weight 1
			server dns,udp:53 rr
			set MASQ-OUTSIDE dns,udp:53
			set VIRTUAL dns,udp:53`, []string{said}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.lacking = []string{"mh"}
				serveWeb(s)
				s.service("web", http, annotated(service.AnnotationScheduler, "mh", service.AnnotationSchedulerFlags, "mh-port,mh-fallback"))
				s.sync()
				test.do(s)
				s.want("then", test.want)
				if diff := cmp.Diff(test.events, s.events); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestInPlaceOfTheNodesSchedulerThatIsMissingTheLastOneServes(t *testing.T) {
	for _, test := range []struct {
		name, own string
		events    []string
	}{
		{"a Service that does not choose one, whose owner is not told", "", nil},
		{"a Service whose own is missing too", "sed", []string{"web SchedulerMissing: the node's kernel has no IPVS scheduler sed, and rr is used instead; load the kernel module ip_vs_sed on the node"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.lacking = []string{"sed", "wlc"}
				s.options.Scheduler = "wlc"
				s.restart()
				serveWeb(s)
				s.service("web", http, annotated(service.AnnotationScheduler, test.own))
				s.sync()
				s.want("then", cluster)
				if len(s.backend.said) != 1 {
					t.Errorf("logged %d messages, want one", len(s.backend.said))
				}
				if diff := cmp.Diff(test.events, s.events); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestANodesSchedulerThatIsMissingIsAnErrorThatNamesTheModule(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.lacking = []string{"rr"}
		serveWeb(s)
		s.service("dns", dns, annotated(service.AnnotationScheduler, "lc"))
		s.slice("dns", []string{"5353/UDP"}, "away1")
		err := s.resyncError()
		if !errors.Is(err, errNoScheduler) || !strings.Contains(err.Error(), "ip_vs_rr") || !strings.Contains(err.Error(), "--ipvs-scheduler") {
			s.t.Errorf("got %v", err)
		}
		if _, ok := errors.AsType[service.Unwritten](err); ok {
			s.t.Error("it is told of some service ports alone")
		}
		if s.kernel.servers[s.key("dns,udp:53")] == nil || !s.kernel.has(setVirtual, s.key("dns,udp:53")) {
			s.t.Error("a Service with a scheduler of its own is not served")
		}
		s.kernel.lacking = nil
		must(s.t, s.resyncError())
		if !s.kernel.has(setVirtual, s.key("web,tcp:80")) {
			s.t.Error("it is not served when the scheduler is there")
		}
	})
}

const declinedMH = "web SchedulerRefused: the node's kernel refuses the IPVS scheduler sed, and rr is used instead; choose another one by the annotation " + service.AnnotationScheduler

func TestASchedulerThatTheKernelRefuses(t *testing.T) {
	asked := func(s *stage) { s.service("web", http, annotated(service.AnnotationScheduler, "sed")) }
	for _, test := range []struct {
		name string
		do   func(s *stage)
	}{
		{"for a new virtual server", func(s *stage) { serveWeb(s); asked(s) }},
		{"for one that is there", func(s *stage) { serveWeb(s); s.sync(); asked(s) }},
		{"for somebody else's", func(s *stage) { s.put("web,tcp:80", 0); serveWeb(s); asked(s) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			forBoth(t, func(s *stage) {
				s.kernel.declining = map[string]int{"sed": 0}
				test.do(s)
				s.sync()
				s.want("then", cluster)
				s.take()
				asks := s.kernel.declined
				s.slice("web", []string{"8080"}, "here1", "away1", "away2")
				s.sync()
				s.wantWrites("a change of endpoints", "server web,tcp:80: real away2:8080 added, weight 1")
				if s.kernel.declined != asks {
					t.Error("the kernel is asked for the scheduler again")
				}
				if diff := cmp.Diff([]string{declinedMH}, s.events); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				s.kernel.declining = nil
				s.slice("web", []string{"8080"}, "here1")
				s.sync()
				if got := s.kernel.servers[s.key("web,tcp:80")].scheduler; got != "sed" {
					t.Errorf("with fewer endpoints, the scheduler is %s", got)
				}
			})
		})
	}
}

// TestARefusedSchedulerIsForgottenWithItsVirtualServer: the kernel may give it to the next one at the same address.
func TestARefusedSchedulerIsForgottenWithItsVirtualServer(t *testing.T) {
	forBoth(t, func(s *stage) {
		s.kernel.declining = map[string]int{"sed": 0}
		serveWeb(s)
		s.service("web", http, annotated(service.AnnotationScheduler, "sed"))
		s.sync()
		s.kernel.declining = nil
		deleteService("web")(s)
		s.sync()
		if len(s.backend.declined) > 0 {
			t.Errorf("still known: %v", s.backend.declined)
		}
		s.service("web", http, annotated(service.AnnotationScheduler, "sed"))
		s.sync()
		if got := s.kernel.servers[s.key("web,tcp:80")].scheduler; got != "sed" {
			t.Errorf("the new virtual server has scheduler %s", got)
		}
	})
}

func TestWhereTheKernelRefusesEverySchedulerThePortIsUnwritten(t *testing.T) {
	forBoth(t, func(s *stage) {
		serveWeb(s)
		s.sync()
		s.kernel.declining = map[string]int{"sed": 0, "rr": 0}
		s.service("web", http, annotated(service.AnnotationScheduler, "sed"))
		table, dirty, _ := s.builder.Build()
		err := s.backend.Sync(t.Context(), table, dirty)
		if unwritten, ok := errors.AsType[service.Unwritten](err); !ok || unwritten[webPort] == nil {
			t.Errorf("got %v", err)
		}
		if found := s.verify(); found != nil {
			t.Errorf("drift: %v", found)
		}
		s.kernel.declining = nil
		must(t, s.backend.Sync(t.Context(), table, dirty))
		if got := s.kernel.servers[s.key("web,tcp:80")].scheduler; got != "sed" {
			t.Errorf("once the kernel takes it, the scheduler is %s", got)
		}
	})
}

// TestMHIsNotForMoreEndpointsThanItsTableHas: the kernel refuses nothing where the virtual server has mh before it has the endpoints.
func TestMHIsNotForMoreEndpointsThanItsTableHas(t *testing.T) {
	endpoints := func(s *stage, n int) {
		var list []string
		for i := range n {
			addr := address(s.family, 1000+i)
			list = append(list, addr.String()+"@"+servicetest.OtherNode)
		}
		s.builder.SetSlice(servicetest.Slice("web", "web", []string{"8080"}, list...))
	}
	scheduler := func(s *stage) string { return s.kernel.servers[s.key("web,tcp:80")].scheduler }
	for _, test := range []struct {
		name, own, node, then string
	}{
		{"of a Service's choice", "mh", "wlc", "wlc"},
		{"of the node's choice", "", "mh", "rr"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, service.IPv4)
			s.kernel.declining = map[string]int{"mh": mostForMH}
			s.options.Scheduler, s.options.Drain = test.node, 0
			s.restart()
			s.service("web", http)
			if test.own != "" {
				s.service("web", http, annotated(service.AnnotationScheduler, test.own))
			}
			for _, step := range []struct {
				endpoints int
				want      string
			}{{mostForMH, "mh"}, {mostForMH + 1, test.then}, {10, test.then}, {11, "mh"}} {
				endpoints(s, step.endpoints)
				s.sync()
				if got := scheduler(s); got != step.want {
					t.Errorf("with %d endpoints, the scheduler is %s", step.endpoints, got)
				}
			}
			if len(s.events) != 1 || !strings.Contains(s.events[0], "4093") {
				t.Errorf("events: %q", s.events)
			}
		})
	}
}
