package cases

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/pkg/service"
)

// Probe is a question with real addresses.
type Probe struct {
	Question
	// Client and To are the names of who asks and who is asked.
	Client, To string
	Packet     service.Packet
	Want       Answer
	// Any: it is enough if one of the possible endpoints answers.
	Any bool
}

// Answer is what must become of a packet.
type Answer struct {
	Action service.Action
	// Destinations are sorted by endpoint.
	Destinations []service.Destination
	// Stays: a client that asks again gets the same endpoint.
	Stays bool
	// With is the endpoint where this client has been before, and stays; invalid: none.
	With netip.AddrPort
}

// String is the answer with real addresses.
func (a Answer) String() string {
	if a.Action != service.Forward {
		return a.Action.String()
	}
	words := make([]string, len(a.Destinations))
	for i, d := range a.Destinations {
		words[i] = d.Endpoint.String()
		if d.Masquerade {
			words[i] += " masqueraded"
		}
	}
	return strings.Join(words, ", ")
}

// Probes are the questions of a step.
func (c Case) Probes(family service.Family, step int) ([]Probe, error) {
	a := c.atlas(family)
	var probes []Probe
	for _, q := range c.Steps[step].Ask {
		p, err := a.probe(q)
		if err != nil {
			return nil, fmt.Errorf("case %q, step %d, question %q, %q: %w", c.Name, step+1, q.Packet, q.Want, err)
		}
		probes = append(probes, p)
	}
	return probes, nil
}

func (a atlas) probe(q Question) (Probe, error) {
	p := Probe{Question: q}
	var to string
	var err error
	if p.Client, to, err = cut(q.Packet, " > "); err != nil {
		return p, err
	}
	to, protocol, _ := strings.Cut(to, "/")
	if p.Packet.Protocol, err = service.ParseProtocol(apiProtocol(protocol)); err != nil {
		return p, err
	}
	var port string
	if p.To, port, err = cut(to, ":"); err != nil {
		return p, err
	}
	if p.Packet.Destination, err = a.addrPort(p.To, port); err != nil {
		return p, err
	}
	if p.Packet.Source, err = a.source(p.Client, p.To); err != nil {
		return p, err
	}
	p.Packet.Interface = a.interfaceOf(p.Client)
	p.Packet.FromNode = p.Client == "node"
	p.Packet.ToNode = a.ownedByNode(p.Packet.Destination.Addr())
	p.Want, err = a.answer(q.Want)
	return p, err
}

// source is the address that a client sends from. The node talks to its own addresses from themselves.
func (a atlas) source(client, to string) (netip.Addr, error) {
	switch {
	case client == "node" && (to == "gateway" || to == "localhost"):
		return a.address(to)
	case client == "crowd":
		return CrowdAddress(a.family, 1, 0), nil
	}
	return a.address(client)
}

func (a atlas) ownedByNode(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(NodeAddresses(a.family), addr)
}

func (a atlas) addrPort(name, port string) (netip.AddrPort, error) {
	addr, err := a.address(name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: %w", port, err)
	}
	own, err := a.port(int32(n))
	return netip.AddrPortFrom(addr, uint16(own)), err
}

// answer reads what a question wants.
func (a atlas) answer(text string) (Answer, error) {
	switch text {
	case "passed":
		return Answer{Action: service.Pass}, nil
	case "refused":
		return Answer{Action: service.Reject}, nil
	case "dropped":
		return Answer{Action: service.Drop}, nil
	}
	want := Answer{Action: service.Forward}
	for part := range strings.SplitSeq(text, ", ") {
		if err := a.answerPart(&want, strings.Fields(part)); err != nil {
			return want, err
		}
	}
	if len(want.Destinations) == 0 {
		return want, errors.New("no endpoint is named")
	}
	if want.With.IsValid() && !slices.ContainsFunc(want.Destinations, func(d service.Destination) bool { return d.Endpoint == want.With }) {
		return want, errors.New("a client can only stay with a possible endpoint")
	}
	slices.SortFunc(want.Destinations, func(x, y service.Destination) int { return x.Endpoint.Compare(y.Endpoint) })
	return want, nil
}

// answerPart reads "a b kept", "c masqueraded", "stays" or "stays with a".
func (a atlas) answerPart(want *Answer, words []string) (err error) {
	if len(words) > 0 && words[0] == "stays" {
		want.Stays = true
		if len(words) == 3 && words[1] == "with" {
			want.With, err = a.endpoint(words[2])
		}
		return err
	}
	if len(words) < 2 {
		return fmt.Errorf("%q says too little", words)
	}
	source := words[len(words)-1]
	if source != "kept" && source != "masqueraded" {
		return fmt.Errorf("%q does not say whether the address is kept or masqueraded", words)
	}
	for _, word := range words[:len(words)-1] {
		e, err := a.endpoint(word)
		if err != nil {
			return err
		}
		want.Destinations = append(want.Destinations, service.Destination{Endpoint: e, Masquerade: source == "masqueraded"})
	}
	return nil
}

func (a atlas) endpoint(word string) (netip.AddrPort, error) {
	name, port, named := strings.Cut(word, ":")
	if !named {
		port = "8080"
	}
	return a.addrPort(name, port)
}

func cut(text, by string) (before, after string, err error) {
	before, after, found := strings.Cut(text, by)
	if !found {
		return "", "", fmt.Errorf("there is no %q in %q", by, text)
	}
	return before, after, nil
}

// apiProtocol spells a protocol as the API does.
func apiProtocol(text string) corev1.Protocol { return corev1.Protocol(strings.ToUpper(text)) }
