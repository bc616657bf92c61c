package service_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	. "github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// annotated makes a Service that has annotations, each written as "key: value". The prefixes of both projects are left out:
// "ipvs-..." is Fairlead's, "service...." kube-router's.
func annotated(annotations ...string) *corev1.Service {
	svc := servicetest.Service("web", "10.96.0.1", "80")
	svc.Annotations = map[string]string{}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, ": ")
		if strings.HasPrefix(key, "ipvs-") {
			key = "fairlead.dev/" + key
		} else {
			key = "kube-router.io/" + key
		}
		svc.Annotations[key] = value
	}
	return svc
}

// webSlice has endpoints that differ in everything a weight can speak of.
func webSlice() *discoveryv1.EndpointSlice {
	return servicetest.Slice("web", "web-1", []string{"8080"},
		"10.244.1.1@node-1 zone/eu-a", "10.244.1.2@node-1 zone/eu-a", "10.244.2.1@node-2 zone/eu-b", "10.244.9.1")
}

// shares writes the weights of a port's endpoints, in the order of their addresses.
func shares(p *Port) string {
	var list []string
	for _, e := range p.Endpoints {
		list = append(list, fmt.Sprint(e.Weight))
	}
	return strings.Join(list, " ")
}

// checkProblems compares problems with what each of them has to say: parts of it, separated by " … ".
func checkProblems(t *testing.T, problems []Problem, want []string) {
	t.Helper()
	if len(problems) != len(want) {
		t.Fatalf("got %d problems: %v", len(problems), problems)
	}
	for i, parts := range want {
		for part := range strings.SplitSeq(parts, " … ") {
			if !strings.Contains(problems[i].String(), part) {
				t.Errorf("%q does not say %q", problems[i], part)
			}
		}
	}
}

func TestScheduling(t *testing.T) {
	tests := []struct {
		name        string
		annotations []string
		want        Scheduling
		problems    []string
	}{
		{"nothing said leaves it to the node", nil, Scheduling{}, nil},
		{"a scheduler", []string{"ipvs-scheduler: lc"}, Scheduling{Scheduler: "lc"}, nil},
		{"blanks do not matter", []string{"ipvs-scheduler:  mh ", "ipvs-scheduler-flags:  mh-port , "}, Scheduling{Scheduler: "mh", Ports: true}, nil},
		{"flags of mh", []string{"ipvs-scheduler: mh", "ipvs-scheduler-flags: mh-fallback,mh-port"}, Scheduling{"mh", true, true}, nil},
		{"flags of sh", []string{"ipvs-scheduler: sh", "ipvs-scheduler-flags: sh-fallback"}, Scheduling{"sh", true, false}, nil},
		{"flags by number", []string{"ipvs-scheduler: sh", "ipvs-scheduler-flags: flag-2"}, Scheduling{"sh", false, true}, nil},
		{"kube-router's annotations", []string{"service.scheduler: mh", "service.schedflags: flag-1,flag-2"}, Scheduling{"mh", true, true}, nil},
		{"kube-router's annotations, flags by name", []string{"service.scheduler: sh", "service.schedflags: sh-port"}, Scheduling{"sh", false, true}, nil},
		{"Fairlead's scheduler goes first, and kube-router's flags go with kube-router's",
			[]string{"ipvs-scheduler: rr", "service.scheduler: mh", "service.schedflags: flag-1"}, Scheduling{Scheduler: "rr"}, nil},
		{"Fairlead's flags go first", []string{"ipvs-scheduler-flags: mh-port", "service.scheduler: mh", "service.schedflags: flag-1"},
			Scheduling{"mh", false, true}, nil},
		{"an empty scheduler leaves it to the node, whatever kube-router's says", []string{"ipvs-scheduler: ", "service.scheduler: mh"}, Scheduling{}, nil},
		{"an unknown scheduler means the default, and its flags are no second problem",
			[]string{"ipvs-scheduler: fastest", "ipvs-scheduler-flags: turbo"}, Scheduling{},
			[]string{`Service default/web … fairlead.dev/ipvs-scheduler: "fastest" is not one of rr, wrr, … default`}},
		{"an unknown scheduler of kube-router's", []string{"service.scheduler: fo"}, Scheduling{}, []string{`kube-router.io/service.scheduler: "fo"`}},
		{"a flag that nobody knows, beside a good one", []string{"ipvs-scheduler: mh", "ipvs-scheduler-flags: turbo,mh-port"},
			Scheduling{"mh", false, true}, []string{`fairlead.dev/ipvs-scheduler-flags: "turbo" … mh-fallback and mh-port`}},
		{"a flag of the other scheduler", []string{"ipvs-scheduler: mh", "ipvs-scheduler-flags: sh-port"}, Scheduling{Scheduler: "mh"}, []string{`"sh-port" … mh-fallback`}},
		{"a number that stands for nothing", []string{"service.scheduler: mh", "service.schedflags: flag-1,flag-3"},
			Scheduling{"mh", true, false}, []string{`kube-router.io/service.schedflags: "flag-3"`}},
		{"a flag for a scheduler without flags", []string{"ipvs-scheduler: rr", "ipvs-scheduler-flags: mh-port"}, Scheduling{Scheduler: "rr"}, []string{`"mh-port" is not a flag of scheduler rr, which has none`}},
		{"a flag without a scheduler", []string{"ipvs-scheduler-flags: mh-port"}, Scheduling{}, []string{`"mh-port" … without a scheduler … name sh or mh`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewBuilder(Options{Family: IPv4, Pods: pods})
			add(b, annotated(test.annotations...), webSlice())
			table, _, problems := b.Build()
			checkProblems(t, problems, test.problems)
			if got := table.Ports[0].Scheduling; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if got := len(table.Ports[0].Endpoints); got != 4 {
				t.Errorf("%d endpoints, want 4", got)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	tests := []struct {
		name        string
		annotations []string
		want        string // of web-0, web-1, web-2 and an endpoint that is nothing but an address
		problems    []string
	}{
		{"nothing said", nil, "0 0 0 0", nil},
		{"by address", []string{"ipvs-weights: 10.244.1.1=5"}, "5 0 0 0", nil},
		{"by node", []string{"ipvs-weights: node/node-1=5"}, "5 5 0 0", nil},
		{"by zone", []string{"ipvs-weights: zone/eu-b=2"}, "0 0 2 0", nil},
		{"by address", []string{"ipvs-weights: 10.244.9.1=65535"}, "0 0 0 65535", nil},
		{"everything", []string{"ipvs-weights: *=3"}, "3 3 3 3", nil},
		{"the first that fits decides", []string{"ipvs-weights: 10.244.1.2=7, node/node-1=5, zone/eu-a=4, *=2, 10.244.9.1=9"}, "5 7 2 2", nil},
		{"a weight of 1 is as none, and goes before the rest", []string{"ipvs-weights: 10.244.1.2 = 1, *=2,"}, "2 0 2 2", nil},
		{"an address of the other family fits nothing", []string{"ipvs-weights: fd00::1=4, 10.244.1.1=2"}, "2 0 0 0", nil},
		{"with a scheduler that takes them", []string{"ipvs-scheduler: wrr", "ipvs-weights: *=3"}, "3 3 3 3", nil},
		{"with an unknown scheduler, since the default may take them", []string{"ipvs-scheduler: fastest", "ipvs-weights: *=3"}, "3 3 3 3", []string{"fastest"}},
		{"with a scheduler that takes none", []string{"ipvs-scheduler: lc", "ipvs-weights: *=3"}, "0 0 0 0",
			[]string{"fairlead.dev/ipvs-weights: scheduler lc does not take weights … fairlead.dev/ipvs-scheduler"}},
		{"weights out of range, and the others go on", []string{"ipvs-weights: 10.244.1.1=0, 10.244.1.2=65536, 10.244.2.1=-1, *=2"}, "2 2 2 2",
			[]string{`"10.244.1.1=0" … between 1 and 65535`, `"10.244.1.2=65536" … between 1 and 65535`, `"10.244.2.1=-1" … between 1 and 65535`}},
		{"entries that nobody can read, and the others go on", []string{"ipvs-weights: heavy, =3, node/=3, deployment/web=3, 10.244.1.0/24=3, 10.244.2.1=x, 10.244.2.1=4"}, "0 0 4 0",
			[]string{`"10.244.1.0/24=3": "10.244.1.0/24" is none of node/NAME`, `"10.244.2.1=x"`, `"=3"`, `"deployment/web=3"`, `"heavy": there is no weight`, `"node/=3"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewBuilder(Options{Family: IPv4, Pods: pods})
			add(b, annotated(test.annotations...), webSlice())
			table, _, problems := b.Build()
			checkProblems(t, problems, test.problems)
			if got := shares(table.Ports[0]); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestWeightsOfLocalEndpointsAreTheSame(t *testing.T) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	svc := annotated("ipvs-weights: 10.244.1.2=4")
	svc.Spec.InternalTrafficPolicy = &local
	b := NewBuilder(Options{Family: IPv4, NodeName: "node-1", Pods: pods})
	add(b, svc, webSlice())
	table, _, _ := b.Build()
	p := table.Ports[0]
	if len(p.Local) != 2 || !slices.Equal(p.Local, p.Endpoints[:2]) || p.Local[1].Weight != 4 {
		t.Errorf("local %v, endpoints %v", p.Local, p.Endpoints)
	}
}

func TestChangesOfSchedulingAreDirty(t *testing.T) {
	b := NewBuilder(Options{Family: IPv4, Pods: pods})
	steps := []struct {
		name  string
		do    func()
		dirty bool
		want  string
	}{
		{"the slice is there before the Service", func() { add(b, webSlice()) }, false, ""},
		{"the Service comes with weights", func() { add(b, annotated("ipvs-weights: 10.244.1.1=5")) }, true, "5 0 0 0"},
		{"the same again", func() { add(b, annotated("ipvs-weights: 10.244.1.1=5"), webSlice()) }, false, "5 0 0 0"},
		{"written otherwise", func() { add(b, annotated("ipvs-weights: 10.244.1.1=5,*=1")) }, false, "5 0 0 0"},
		{"another weight", func() { add(b, annotated("ipvs-weights: 10.244.1.1=6")) }, true, "6 0 0 0"},
		{"a scheduler", func() { add(b, annotated("ipvs-weights: 10.244.1.1=6", "ipvs-scheduler: sh")) }, true, "6 0 0 0"},
		{"a flag", func() {
			add(b, annotated("ipvs-weights: 10.244.1.1=6", "ipvs-scheduler: sh", "ipvs-scheduler-flags: sh-port"))
		}, true, "6 0 0 0"},
		{"weights removed", func() { add(b, annotated()) }, true, "0 0 0 0"},
		{"weights that come when everything else is long there", func() { add(b, annotated("ipvs-weights: zone/eu-a=2,node/node-2=3")) }, true, "2 2 3 0"},
		{"the pod with the address is another one, in another zone", func() {
			slice := webSlice()
			zone := "eu-b"
			slice.Endpoints[0].Zone = &zone
			add(b, slice)
		}, true, "0 2 3 0"},
	}
	for _, step := range steps {
		step.do()
		table, dirty, problems := b.Build()
		if len(problems) > 0 {
			t.Errorf("%s: %v", step.name, problems)
		}
		if (len(dirty) > 0) != step.dirty {
			t.Errorf("%s: dirty %v", step.name, dirty)
		}
		if step.want == "" {
			continue
		}
		if got := shares(table.Ports[0]); got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
	}
}

func TestEverySchedulerSaysWhetherItTakesWeights(t *testing.T) {
	var take []string
	for _, s := range Schedulers {
		if TakesWeights(s) {
			take = append(take, s)
		}
	}
	if got := strings.Join(take, " "); got != "wrr wlc sh sed nq mh lblc lblcr" {
		t.Errorf("%s take weights", got)
	}
	if TakesWeights("") || TakesWeights("fastest") {
		t.Error("no scheduler takes weights")
	}
}
