package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/e2e/lab"
)

// stage is the network with all that takes part, before Fairlead comes.
type stage struct {
	*lab.Lab
	node    *lab.Host // where Fairlead runs
	outside *lab.Host
	client  *lab.Host
	pods    []pod // as the examples say
	spare   pod   // not in the examples; comes and goes
}

// setStage builds the network that the examples speak of. It fails where the lab gives a pod or the node another address
// than the examples do, as nobody would answer there.
func setStage(e *examples) (s *stage, err error) {
	wanted, err := e.pods()
	if err != nil {
		return nil, fmt.Errorf("read the pods from the examples: %w", err)
	}
	l, err := lab.New(lab.Options{})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	s = &stage{Lab: l, outside: l.Outside}
	if s.node, err = s.host(e.node.Name); err != nil {
		return nil, err
	}
	if err := compareNode(e.node, s.node); err != nil {
		return nil, err
	}
	for _, want := range wanted {
		got, err := s.add(want.name, want.node, want.port)
		if err != nil {
			return nil, err
		}
		if got != want {
			return nil, fmt.Errorf("the examples give the pod %s on %s the addresses %s and %s, but in the lab it has %s and %s: correct the EndpointSlices",
				want.name, want.node, want.IPv4, want.IPv6, got.IPv4, got.IPv6)
		}
		s.pods = append(s.pods, got)
	}
	last := s.Nodes[len(s.Nodes)-1]
	if s.spare, err = s.add(fmt.Sprintf("my-app-%d", len(wanted)+1), last.Name, wanted[0].port); err != nil {
		return nil, err
	}
	s.client, err = s.Pod(s.node, "client")
	return s, err
}

func (s *stage) host(node string) (*lab.Host, error) {
	for _, h := range s.Nodes {
		if h.Name == node {
			return h, nil
		}
	}
	return nil, fmt.Errorf("the examples speak of the node %s, which the lab does not have", node)
}

// add makes a pod that answers on a port in both families.
func (s *stage) add(name, node string, port uint16) (pod, error) {
	host, err := s.host(node)
	if err != nil {
		return pod{}, err
	}
	made, err := s.Pod(host, name)
	if err != nil {
		return pod{}, err
	}
	if _, err := made.ServeTCP(lab.Wildcard(lab.IPv6, port)); err != nil {
		return pod{}, err
	}
	return pod{name: name, node: node, Addresses: made.Addresses, port: port}, nil
}

// describe says who is there.
func (s *stage) describe(out io.Writer) {
	fmt.Fprintf(out, "A network of namespaces on this machine: two nodes with pods, and a client outside.\n\n")
	for _, node := range s.Nodes {
		var names []string
		for _, p := range slices.Concat(s.pods, []pod{s.spare}) {
			if p.node == node.Name {
				names = append(names, fmt.Sprintf("%s %s", p.name, p.IPv4))
			}
		}
		if node == s.node {
			names = append(names, fmt.Sprintf("client pod %s", s.client.IPv4))
		}
		fmt.Fprintf(out, "   %-7s  %-12s  %s\n", node.Name, node.IPv4, strings.Join(names, ", "))
	}
	fmt.Fprintf(out, "   %-7s  %-12s  client on no node\n\n", s.outside.Name, s.outside.IPv4)
}
