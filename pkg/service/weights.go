package service

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

// maxWeights is how many entries of the annotation for weights count. An annotation may have 256 KiB, and whoever writes it decides how much
// work the entries are.
const maxWeights = 100

// weights are the shares that a Service gives its endpoints, by what they name. Where several fit an endpoint, the first one in the
// annotation decides.
type weights struct {
	nodes, zones map[string]weight
	addresses    map[netip.Addr]weight
	all          weight // of "*"
}

// weight is one entry; the zero value is none.
type weight struct {
	position int // in the annotation, from 1
	share    uint16
}

// of returns the weight of an endpoint. A share of 1, which is what an endpoint has by itself, is 0 here: Tables that mean
// the same are then equal.
func (ws *weights) of(e *sliceEndpoint) uint16 {
	if ws == nil {
		return 0
	}
	place := e.location.Value()
	first := ws.all
	for _, w := range [...]weight{ws.nodes[place.node], ws.zones[place.zone], ws.addresses[e.address]} {
		if w.position != 0 && (first.position == 0 || w.position < first.position) {
			first = w
		}
	}
	if first.share == 1 {
		return 0
	}
	return first.share
}

// readWeights reads the weights, unless the Service itself names a scheduler that has no use for them. The node's default
// scheduler may have none either; it is not known here.
func (s *spec) readWeights(svc *corev1.Service) {
	a := firstAnnotation(svc, AnnotationWeights)
	count := 0
	for entry := range a.entries() {
		if name := s.scheduling.Scheduler; name != "" && !TakesWeights(name) {
			s.annotationProblem(a, "the weights are left out; name one that does in annotation "+AnnotationScheduler+", such as wrr",
				"scheduler %s does not take weights", name)
			return
		}
		if count++; count > maxWeights {
			continue
		}
		if err := s.addWeight(entry, count); err != nil {
			s.annotationProblem(a, "the entry is left out; correct it in the Service", "%s: %v", quoted(entry), err)
		}
	}
	if count > maxWeights {
		s.annotationProblem(a, fmt.Sprintf("only the first %d count; name zones, or * for all others, instead of single endpoints", maxWeights),
			"%d entries are too many", count)
	}
}

// addWeight reads one entry, such as "node/worker-1=3". The first one of several for the same endpoints counts.
func (s *spec) addWeight(entry string, position int) error {
	target, digits, found := strings.Cut(entry, "=")
	if !found {
		return fmt.Errorf("there is no weight behind an equals sign")
	}
	share, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 16)
	if err != nil || share == 0 {
		return fmt.Errorf("the weight is not a number between 1 and 65535")
	}
	if s.weights == nil {
		s.weights = &weights{nodes: map[string]weight{}, zones: map[string]weight{}, addresses: map[netip.Addr]weight{}}
	}
	return s.weights.add(strings.TrimSpace(target), weight{position, uint16(share)})
}

// add reads what an entry speaks of. An address may be of the other family: then it fits nothing here, and the
// Service's endpoints of that family there.
func (ws *weights) add(target string, w weight) error {
	kind, name, _ := strings.Cut(target, "/")
	name = strings.Clone(name) // the rest of the object shall not be kept with it
	switch {
	case target == "*":
		if ws.all.position == 0 {
			ws.all = w
		}
	case kind == "node" && name != "":
		addFirst(ws.nodes, name, w)
	case kind == "zone" && name != "":
		addFirst(ws.zones, name, w)
	default:
		addr, err := parseIP(target)
		if err != nil {
			return fmt.Errorf("%s is none of node/NAME, zone/NAME, an IP address, *", quoted(target))
		}
		addFirst(ws.addresses, addr, w)
	}
	return nil
}

// addFirst adds a weight unless there is one already.
func addFirst[K comparable](to map[K]weight, key K, w weight) {
	if _, known := to[key]; !known {
		to[key] = w
	}
}

// location is where an endpoint is. Every endpoint keeps it, as weights may come, or change, when its slice has long been read. Many
// endpoints share one, so each only points to it.
type location struct {
	node, zone string // empty: not said
}

func locate(node, zone *string) unique.Handle[location] {
	var l location
	if node != nil {
		l.node = *node
	}
	if zone != nil {
		l.zone = *zone
	}
	return unique.Make(l)
}
