package service

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

// weights are the shares that a Service gives its endpoints. The first one that fits an endpoint decides.
type weights []weight

type weight struct {
	fits  func(*sliceEndpoint) bool
	share uint16
}

// of returns the weight of an endpoint. A share of 1, which is what an endpoint has by itself, is 0 here: Tables that mean
// the same are then equal.
func (ws weights) of(e *sliceEndpoint) uint16 {
	for _, w := range ws {
		if w.fits(e) {
			if w.share == 1 {
				return 0
			}
			return w.share
		}
	}
	return 0
}

// readWeights reads the weights, unless the Service itself names a scheduler that has no use for them. The node's default
// scheduler may have none either; it is not known here.
func (s *spec) readWeights(svc *corev1.Service) {
	a := firstAnnotation(svc, AnnotationWeights)
	entries := a.entries()
	if len(entries) == 0 {
		return
	}
	if name := s.scheduling.Scheduler; name != "" && !TakesWeights(name) {
		s.annotationProblem(a, "the weights are left out; name one that does in annotation "+AnnotationScheduler+", such as wrr",
			"scheduler %s does not take weights", name)
		return
	}
	for _, entry := range entries {
		w, err := parseWeight(entry)
		if err != nil {
			s.annotationProblem(a, "the entry is left out; correct it in the Service", "%q: %v", entry, err)
			continue
		}
		s.weights = append(s.weights, w)
	}
}

// parseWeight reads one entry, such as "node/worker-1=3".
func parseWeight(entry string) (weight, error) {
	target, digits, found := strings.Cut(entry, "=")
	if !found {
		return weight{}, fmt.Errorf("there is no weight behind an equals sign")
	}
	share, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 16)
	if err != nil || share == 0 {
		return weight{}, fmt.Errorf("the weight is not a number between 1 and 65535")
	}
	fits, err := parseTarget(strings.TrimSpace(target))
	return weight{fits, uint16(share)}, err
}

// parseTarget reads what an entry speaks of. An address may be of the other family: then it fits nothing here, and the
// Service's endpoints of that family there.
func parseTarget(text string) (func(*sliceEndpoint) bool, error) {
	kind, name, _ := strings.Cut(text, "/")
	name = strings.Clone(name) // the rest of the object shall not be kept with it
	switch {
	case text == "*":
		return func(*sliceEndpoint) bool { return true }, nil
	case kind == "node" && name != "":
		return func(e *sliceEndpoint) bool { return e.location.Value().node == name }, nil
	case kind == "zone" && name != "":
		return func(e *sliceEndpoint) bool { return e.location.Value().zone == name }, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, fmt.Errorf("%q is none of node/NAME, zone/NAME, an IP address, *", text)
	}
	addr = addr.Unmap().WithZone("")
	return func(e *sliceEndpoint) bool { return e.address == addr }, nil
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
