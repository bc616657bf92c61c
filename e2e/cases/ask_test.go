package cases

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/service"
)

// ask sends packets until it is clear whether the answer is right.
func (s *stage) ask(ctx context.Context, p Probe) error {
	if p.Packet.Protocol == service.SCTP || p.elsewhere() {
		return nil
	}
	switch p.Want.Action {
	case service.Pass:
		return s.passes(ctx, p)
	case service.Reject:
		return s.fails(ctx, p, lab.ErrRefused)
	case service.Drop:
		return s.fails(ctx, p, lab.ErrTimeout)
	}
	if p.Want.Stays {
		return s.stays(ctx, p)
	}
	return s.reaches(ctx, p)
}

// elsewhere reports whether the answer takes a way on which this node cannot put the Service's address into it: straight from
// another node to a client that is not on this one. No client could make sense of it, and the lab cannot see it.
func (p Probe) elsewhere() bool {
	here := p.Client == "node" || slices.Contains(PodsOf(Node1), p.Client)
	return !here && slices.ContainsFunc(p.Want.Destinations, func(d service.Destination) bool {
		return !d.Masquerade && !podRange(service.FamilyOf(p.Packet.Source), 1).Contains(d.Endpoint.Addr())
	})
}

// once sends one question.
func (s *stage) once(ctx context.Context, p Probe, source netip.Addr, timeout time.Duration) (lab.Answer, error) {
	return s.hosts[p.Client].Ask(ctx, p.Packet.Protocol.String(), p.Packet.Destination,
		lab.From(netip.AddrPortFrom(source, 0)), lab.Timeout(timeout), lab.Reset())
}

// fails asks twice, and never wants an answer. A refusal that comes too early is noticed by TCP a second later only, and
// until then it looks like silence. What the node sends itself over UDP fails at once in either case.
func (s *stage) fails(ctx context.Context, p Probe, want error) error {
	timeout := lab.AnswerTimeout
	switch {
	case p.Want.Action == service.Reject:
	case p.Packet.Protocol == service.TCP:
		timeout = 1600 * time.Millisecond
	default:
		timeout = 300 * time.Millisecond
	}
	const times = 2
	outcomes := make(chan error, times)
	for range times {
		go func() {
			answer, err := s.once(ctx, p, p.Packet.Source, timeout)
			switch {
			case err == nil:
				err = fmt.Errorf("%s answered", answer.Server)
			case errors.Is(err, want):
				err = nil
			}
			outcomes <- err
		}()
	}
	var wrong error
	for range times {
		wrong = cmp.Or(<-outcomes, wrong)
	}
	return wrong
}

// passes has somebody answer at the very address, and wants that answer.
func (s *stage) passes(ctx context.Context, p Probe) error {
	server, err := s.standIn(p)
	if err != nil {
		return err
	}
	defer server.close()
	for range 3 {
		answer, err := s.once(ctx, p, p.Packet.Source, lab.AnswerTimeout)
		if err != nil {
			return err
		}
		if answer.Server != server.address {
			return fmt.Errorf("%s answered, want %s", answer.Server, server.address)
		}
		if answer.Client.Addr() != p.Packet.Source {
			return fmt.Errorf("%s saw %s, want %s", answer.Server, answer.Client.Addr(), p.Packet.Source)
		}
	}
	return nil
}

// standIn is a server that answers at the destination of a packet, if nobody changes that.
type standIn struct {
	address netip.AddrPort
	close   func() error
}

func (s *stage) standIn(p Probe) (standIn, error) {
	to := p.Packet.Destination
	keep := standIn{address: to, close: func() error { return nil }}
	name := p.To
	if name == "gateway" || name == "localhost" {
		name = "node"
	}
	host := s.hosts[name]
	switch {
	case host == nil: // a virtual address
		keep.address = s.Backbone.AddrPort(lab.Family(service.FamilyOf(to.Addr())), worldPort)
		return keep, nil
	case slices.Contains(podPorts, to.Port()):
		return keep, nil // it is served anyway
	}
	listen := host.ServeTCP
	if p.Packet.Protocol == service.UDP {
		listen = host.ServeUDP
	}
	server, err := listen(lab.Wildcard(lab.IPv6, to.Port()))
	// A process that another test starts just now has a copy of the last listener, until it becomes the program that it shall be.
	for end := time.Now().Add(lab.AnswerTimeout); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		server, err = listen(lab.Wildcard(lab.IPv6, to.Port()))
	}
	if err != nil {
		return standIn{}, err
	}
	return standIn{address: to, close: server.Close}, nil
}

// stays asks as one client, or as each of the crowd, and wants each to be answered by one endpoint.
func (s *stage) stays(ctx context.Context, p Probe) error {
	sources, questions := []netip.Addr{p.Packet.Source}, 12
	if p.Client == "crowd" {
		sources, questions = crowd(p), 3
	}
	seen := map[netip.AddrPort]bool{}
	for _, source := range sources {
		with := p.Want.With
		for range questions {
			server, err := s.reach(ctx, p, source)
			if err != nil {
				return err
			}
			if with.IsValid() && server != with {
				return fmt.Errorf("%s answered %s, which was at %s before", server, source, with)
			}
			with, seen[server] = server, true
		}
	}
	if p.Client == "crowd" && !p.Want.With.IsValid() && len(seen) < len(p.Want.Destinations) {
		return fmt.Errorf("only %v answered", seen)
	}
	return nil
}

// crowd lists the crowd's addresses in the family of a packet.
func crowd(p Probe) []netip.Addr {
	addresses := make([]netip.Addr, Crowd)
	for i := range addresses {
		addresses[i] = CrowdAddress(service.FamilyOf(p.Packet.Source), 1, i)
	}
	return addresses
}

// reaches asks until every endpoint has answered. The chance that a fair choice leaves one out for that long is below one in a
// billion.
func (s *stage) reaches(ctx context.Context, p Probe) error {
	sources := []netip.Addr{p.Packet.Source}
	if p.Client == "crowd" {
		sources = crowd(p)
	}
	endpoints := len(p.Want.Destinations)
	least, most := max(5, 3*endpoints), 30*endpoints
	seen := map[netip.AddrPort]bool{}
	for i := 0; i < least || len(seen) < endpoints && !p.Any; i++ {
		if i == most {
			return fmt.Errorf("only %v answered in %d questions", seen, most)
		}
		server, err := s.reach(ctx, p, sources[i%len(sources)])
		if err != nil {
			return err
		}
		seen[server] = true
	}
	return nil
}

// reach asks once, and checks that the answer is a possible one.
func (s *stage) reach(ctx context.Context, p Probe, source netip.Addr) (netip.AddrPort, error) {
	answer, err := s.once(ctx, p, source, lab.AnswerTimeout)
	if err != nil {
		return netip.AddrPort{}, err
	}
	at := slices.IndexFunc(p.Want.Destinations, func(d service.Destination) bool { return d.Endpoint == answer.Server })
	if at < 0 {
		return answer.Server, fmt.Errorf("%s answered", answer.Server)
	}
	client, want := answer.Client.Addr(), []netip.Addr{source}
	if p.Want.Destinations[at].Masquerade {
		want = NodeAddresses(service.FamilyOf(source))
	}
	if !slices.Contains(want, client) {
		return answer.Server, fmt.Errorf("%s saw %s, want %v", answer.Server, client, want)
	}
	return answer.Server, nil
}
