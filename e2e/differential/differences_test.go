package differential

import (
	"slices"

	"github.com/fairlead/fairlead/e2e/cases"
)

// difference is a question that kube-proxy answers differently from the table, which is meant. What it is good for stands in
// docs/differences.md, under the case's name.
type difference struct {
	name   string // of the case
	step   int    // from 1
	packet string
	// kubeProxy is what kube-proxy does, written as in the table.
	kubeProxy string
	// byChance: it does so sometimes, and at other times what the table says.
	byChance bool
}

var differences = slices.Concat(
	differs("no Service can take another's cluster IP for its external IP, however old it is", byChance,
		"pod > web:80", "c masqueraded", "outside > web:80", "c masqueraded"),
	differs("no Service can take another's load-balancer IP for its external IP, however old it is", byChance,
		"outside > lb1:80", "c masqueraded", "pod > lb1:80", "c masqueraded"),
	differs("source ranges hold for a load balancer's address that is an external IP of the same Service too", always,
		"pod > lb1:80", "a c masqueraded"),
	differs("the older of two Services has the external IP that both want, and the other one inherits it", byChance,
		"outside > ext1:80", "a masqueraded"),
	differs("the older of two Services has the load balancer's address even if it has no endpoints", always,
		"outside > lb1:80", "c masqueraded"),
	differs("an external IP without endpoints goes before a node port too", always,
		"outside > node:30002", "c:9090 masqueraded"),
	differs("source ranges of the other family alone admit nobody", always,
		"outside > lb1:80", "a c masqueraded", "pod > lb1:80", "a c masqueraded", "node > lb1:80", "a c masqueraded"),
	differs("a node port on localhost is for the node itself: a neighbor is dropped", always,
		"node2 > localhost:30000", "a masqueraded"),
	differs("without endpoints everybody is refused, on every way in", always,
		"node > ext1:80", "passed", "node > lb1:80", "passed"),
	differs("external Local: without any endpoint everybody is refused", always,
		"node > ext1:80", "passed", "node > lb1:80", "passed"),
	differs("node ports are refused on the addresses in the ranges of --nodeport-addresses alone", always,
		"pod > gateway:30000", "refused", "outside > gateway:30001", "dropped"),
	differs("node ports on localhost can be turned off", always,
		"node > localhost:30001", "refused"),
)

// How often a difference shows.
const (
	always   = false
	byChance = true
)

// differs lists packets of the first step of a case, each with what kube-proxy does.
func differs(name string, byChance bool, questions ...string) (list []difference) {
	for q := range slices.Chunk(questions, 2) {
		list = append(list, difference{name, 1, q[0], q[1], byChance})
	}
	return list
}

// differenceOf finds the difference that is listed for a question.
func differenceOf(tr *trial, step int, packet string) (difference, bool) {
	at := slices.IndexFunc(differences, func(d difference) bool {
		return d.name == tr.Name && d.step == step+1 && d.packet == packet
	})
	if at < 0 {
		return difference{}, false
	}
	return differences[at], true
}

// probe is the question of a difference with kube-proxy's answer.
func (d difference) probe(tr *trial) (cases.Probe, error) {
	c := tr.Case
	c.Steps = slices.Clone(c.Steps)
	c.Steps[d.step-1].Ask = []cases.Question{{Packet: d.packet, Want: d.kubeProxy}}
	probes, err := c.Probes(tr.family, d.step-1)
	if err != nil {
		return cases.Probe{}, err
	}
	return probes[0], nil
}
