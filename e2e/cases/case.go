package cases

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/pkg/service"
)

// Case is one thing that must hold. Cases do not get into each other's way: all of those with the same Flags can be tried at
// once on one node.
type Case struct {
	// Name says what must hold.
	Name string
	// Family is the only one in which it must; 0: it must in both.
	Family service.Family
	Flags  Flags
	// Steps come one after the other, on the same node.
	Steps []Step
	// Differs says what kube-proxy does instead, where that is known.
	Differs string

	number int // in the list of all cases, from 0
}

// Step is a state of the cluster, and what must be true in it.
type Step struct {
	// Objects are all that there are of the case, with names in place of addresses.
	Objects []Object
	// Pause is how long no client of the case sends anything before the first question.
	Pause time.Duration
	Ask   []Question
}

// Question is a packet and what must become of it; the package's documentation says how they are written.
type Question struct {
	Packet, Want string
}

// Object is a Service or an EndpointSlice.
type Object interface {
	metav1.Object
	runtime.Object
}

// chapters are all cases, by subject. The first cases of a chapter are its plainest.
func chapters() [][]Case {
	return [][]Case{clusterIPCases, masqueradeCases, selectionCases,
		nodePortCases, nodePortAddressCases, localhostCases,
		externalIPCases, balancerCases, claimCases, sourceRangeCases,
		refusalCases, internalLocalCases, externalLocalCases, sliceCases, readinessCases,
		topologyCases, affinityCases, typeChangeCases, portChangeCases, endpointChangeCases, policyChangeCases}
}

// All returns every case there is.
func All() []Case {
	all := slices.Concat(chapters()...)
	for i := range all {
		all[i].number = i
	}
	return all
}

// Core returns the first cases of each chapter that need no other flags than usual: for a quick look at a slow machine.
func Core() []Case {
	const each = 2
	var core []Case
	number := 0
	for _, chapter := range chapters() {
		taken := 0
		for _, c := range chapter {
			c.number = number
			number++
			if taken < each && c.Flags.String() == (Flags{}).String() {
				core = append(core, c)
				taken++
			}
		}
	}
	return core
}

// Families lists the families in which the case must hold.
func (c Case) Families() []service.Family {
	if c.Family != 0 {
		return []service.Family{c.Family}
	}
	return []service.Family{service.IPv4, service.IPv6}
}

// Group is the cases that can be tried on one node.
type Group struct {
	Flags Flags
	Cases []Case
}

// Groups sorts cases by their flags, in the order in which these come first.
func Groups(all []Case) []Group {
	var groups []Group
	for _, c := range all {
		at := slices.IndexFunc(groups, func(g Group) bool { return g.Flags == c.Flags })
		if at < 0 {
			at = len(groups)
			groups = append(groups, Group{Flags: c.Flags})
		}
		groups[at].Cases = append(groups[at].Cases, c)
	}
	return groups
}

// Rounds is how many steps the longest case has.
func (g Group) Rounds() int {
	rounds := 0
	for _, c := range g.Cases {
		rounds = max(rounds, len(c.Steps))
	}
	return rounds
}
