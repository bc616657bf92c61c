package service

import (
	"iter"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The annotations by which a Service says how IPVS spreads its connections. Modes without a choice pass over them.
const (
	// AnnotationScheduler names one of Schedulers.
	AnnotationScheduler = "fairlead.dev/ipvs-scheduler"
	// AnnotationSchedulerFlags lists flags of that scheduler, separated by commas, as ipvsadm spells them: "mh-fallback,mh-port".
	AnnotationSchedulerFlags = "fairlead.dev/ipvs-scheduler-flags"
	// AnnotationWeights lists the weights of endpoints, separated by commas: "node/worker-1=3, zone/eu-a=2, 10.244.1.5=7, *=1".
	// The first entry that fits an endpoint decides.
	AnnotationWeights = "fairlead.dev/ipvs-weights"
)

// kube-router's annotations count where Fairlead's own scheduler is not given: whoever comes from there need not write
// anything anew.
const (
	kubeRouterScheduler = "kube-router.io/service.scheduler"
	kubeRouterFlags     = "kube-router.io/service.schedflags"
)

// Schedulers lists the schedulers of IPVS that can be chosen, as the kernel spells them.
var Schedulers = []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh", "lblc", "lblcr"}

// TakesWeights reports whether a scheduler gives an endpoint a share by its weight. The others treat all endpoints alike.
func TakesWeights(scheduler string) bool {
	return slices.Contains([]string{"wrr", "wlc", "sh", "sed", "nq", "mh", "lblc", "lblcr"}, scheduler)
}

// takesFlags reports whether a scheduler has the flags of Scheduling: only those that choose by the client's address do.
func takesFlags(scheduler string) bool { return scheduler == "sh" || scheduler == "mh" }

// Scheduling names a scheduler of IPVS; the zero value leaves the choice to the node.
type Scheduling struct {
	Scheduler string // one of Schedulers; empty: the node's default
	// Fallback (sh-fallback, mh-fallback): a client whose endpoint is not available goes to another one. IPVS mode does so in any case.
	Fallback bool
	Ports    bool // sh, mh: the client's port counts too, not only its address (sh-port, mh-port)
}

// annotation is one annotation of a Service, as it was found.
type annotation struct {
	key, value string
	set        bool
}

// firstAnnotation returns the first of the named annotations that a Service has, even if it is empty.
func firstAnnotation(svc *corev1.Service, keys ...string) annotation {
	for _, key := range keys {
		if value, set := svc.Annotations[key]; set {
			return annotation{key, strings.TrimSpace(value), true}
		}
	}
	return annotation{}
}

// entries goes through the parts between commas. Empty ones, as behind a comma at the end, mean nothing.
func (a annotation) entries() iter.Seq[string] {
	return func(yield func(string) bool) {
		for entry := range strings.SplitSeq(a.value, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
				return
			}
		}
	}
}

func (s *spec) annotationProblem(a annotation, mend, what string, args ...any) {
	s.problem(mend, "annotation "+a.key+": "+what, args...)
}

// readScheduling reads how connections are to be spread. What hangs on a scheduler that nobody knows is not looked at: one
// mistake is one problem.
func (s *spec) readScheduling(svc *corev1.Service) {
	chosen := firstAnnotation(svc, AnnotationScheduler, kubeRouterScheduler)
	at := slices.Index(Schedulers, chosen.value)
	if at < 0 && chosen.value != "" {
		s.annotationProblem(chosen, "the node's default holds instead; correct it in the Service",
			"%s is not one of %s", quoted(chosen.value), strings.Join(Schedulers, ", "))
		s.readWeights(svc)
		return
	}
	if at >= 0 {
		s.scheduling.Scheduler = Schedulers[at] // not a piece of the object, which would be kept with it
	}
	flags := []string{AnnotationSchedulerFlags}
	if chosen.key != AnnotationScheduler {
		flags = append(flags, kubeRouterFlags) // which speak of kube-router's scheduler
	}
	s.readFlags(firstAnnotation(svc, flags...))
	s.readWeights(svc)
}

func (s *spec) readFlags(a annotation) {
	const mend = "the flag is left out; correct it in the Service"
	scheduler := s.scheduling.Scheduler
	for flag := range a.entries() {
		shown := quoted(flag)
		switch {
		case scheduler == "":
			s.annotationProblem(a, "the flag is left out; name sh or mh in annotation "+AnnotationScheduler,
				"%s stands without a scheduler that has such a flag", shown)
		case !takesFlags(scheduler):
			s.annotationProblem(a, mend, "%s is not a flag of scheduler %s, which has none", shown, scheduler)
		// The kernel numbers flags, and both ipvsadm and kube-router take the numbers.
		case flag == scheduler+"-fallback" || flag == "flag-1":
			s.scheduling.Fallback = true
		case flag == scheduler+"-port" || flag == "flag-2":
			s.scheduling.Ports = true
		default:
			s.annotationProblem(a, mend, "%s is not a flag of scheduler %s, which has %[2]s-fallback and %[2]s-port", shown, scheduler)
		}
	}
}
