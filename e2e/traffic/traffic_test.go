package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

const testPort = 8080

// pair is a client and a server, with no Service in between.
type pair struct {
	*lab.Lab
	client, server *lab.Host
	tcp, udp       *lab.Server
}

func newPair(t *testing.T) *pair {
	t.Helper()
	l, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &pair{Lab: l}
	if p.client, err = l.Pod(l.Nodes[0], "client"); err != nil {
		t.Fatal(err)
	}
	if p.server, err = l.Pod(l.Nodes[1], "server"); err != nil {
		t.Fatal(err)
	}
	p.serve(t)
	return p
}

func (p *pair) serve(t *testing.T) {
	t.Helper()
	var err error
	if p.tcp, err = p.server.ServeTCP(lab.Wildcard(lab.IPv6, testPort)); err != nil {
		t.Fatal(err)
	}
	if p.udp, err = p.server.ServeUDP(lab.Wildcard(lab.IPv6, testPort)); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) start(t *testing.T, patience time.Duration) *Traffic {
	t.Helper()
	o := Options{Standing: 6, Flows: 4, Rate: 50, Beat: 20 * time.Millisecond, Patience: patience}
	for _, f := range lab.Families {
		to := p.server.AddrPort(f, testPort)
		o.Targets = append(o.Targets, Target{Name: f.String(), From: p.client, To: to})
		// A new link of IPv6 may lose a first packet. TCP sends it again, UDP does not.
		if _, err := p.client.Ask(t.Context(), "tcp", to); err != nil {
			t.Fatal(err)
		}
	}
	return Run(t, o)
}

// until waits for a report.
func until(t *testing.T, traffic *Traffic, what string, done func(Report) bool) Report {
	t.Helper()
	for deadline := time.Now().Add(lab.Patience(time.Minute)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if r := traffic.Report(); done(r) {
			return r
		}
	}
	t.Fatalf("not in time: %s: %v, failures %v", what, traffic.Report(), traffic.Report().First)
	return Report{}
}

func TestGoodTrafficHasNoFailure(t *testing.T) {
	traffic := newPair(t).start(t, 0)
	traffic.More(t, 5)
	r := traffic.Stop()
	r.Check(t)
	// Each of the 2 targets was answered 5 times over TCP and 5 times over UDP.
	if r.Standing != 6 || r.Flows != 4 || r.Asked != r.Answered || r.Answered < 20 || r.Echoes < 30 || r.FlowAnswers < 20 {
		t.Errorf("got %+v", r)
	}
	if again := traffic.Report(); again.Echoes != r.Echoes || again.Asked != r.Asked {
		t.Errorf("it went on after Stop: %v, then %v", r, again)
	}
}

func TestABrokenConnectionIsSeen(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t, 0)
	traffic.More(t, 1)
	if err := p.tcp.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, traffic, "all standing connections broke", func(r Report) bool { return r.Failed[Standing] == 6 })
	r := until(t, traffic, "a new one is refused", func(r Report) bool { return r.Failed[New] > 0 })
	for _, f := range r.First {
		// One that is not accepted yet when the server closes is reset.
		refused := errors.Is(f.Err, lab.ErrRefused) || strings.Contains(f.Err.Error(), syscall.ECONNRESET.Error())
		if f.Kind == New && !refused || f.Network != "tcp" || f.Port == 0 || f.At.IsZero() || !f.Target.To.IsValid() {
			t.Errorf("unexpected: %v", f)
		}
	}
}

func TestALostAnswerIsSeen(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t, lab.Silence)
	for _, f := range lab.Families {
		// Packets to the server end at its node.
		if err := p.Nodes[1].AddRoute(netip.PrefixFrom(p.server.Address(f), p.server.Address(f).BitLen()), p.Nodes[0].Address(f)); err != nil {
			t.Fatal(err)
		}
	}
	r := until(t, traffic, "every kind fails", func(r Report) bool { return r.Failed[Standing] == 6 && r.Failed[Flow] > 3 && r.Failed[New] > 3 })
	if f := r.First[0]; !errors.Is(f.Err, lab.ErrTimeout) && !errors.Is(f.Err, lab.ErrRefused) {
		t.Errorf("unexpected: %v", f)
	}
}

// A flow that another endpoint answers has moved, even if nothing is lost.
func TestAMovedFlowIsSeen(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t, 0)
	traffic.More(t, 1)
	if err := p.udp.Close(); err != nil {
		t.Fatal(err)
	}
	moved := lab.Wildcard(lab.IPv4, 4242)
	liar, err := p.server.ListenPacket("udp", fmt.Sprintf("[::]:%d", testPort))
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	go func() {
		buffer := make([]byte, 100)
		for {
			_, client, err := liar.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = liar.WriteTo(fmt.Appendf(nil, "%s %s\n", moved, moved), client)
		}
	}()
	until(t, traffic, "all flows have moved", func(r Report) bool {
		n := 0
		for _, f := range r.First {
			if f.Kind == Flow && errors.Is(f.Err, ErrMoved) {
				n++
			}
		}
		return n == 4
	})
}

func TestStartFailsWhereNobodyAnswers(t *testing.T) {
	p := newPair(t)
	target := Target{Name: "closed", From: p.client, To: p.server.AddrPort(lab.IPv4, 9)}
	if _, err := Start(t.Context(), Options{Targets: []Target{target}}); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// What stands has a port that no question ever takes, also where the client is another Host each time.
func TestStandingConnectionsHavePortsOfTheirOwn(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t, 0)
	traffic.More(t, 1)
	seen := map[uint16]bool{}
	for s := range traffic.ledger.answers() {
		if s.kind == New {
			continue
		}
		if seen[s.port] || s.port <= 60999 {
			t.Errorf("%s has a port that is not its own", s)
		}
		seen[s.port] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d ports for 6 connections and 4 flows", len(seen))
	}
}

// TestEveryPath sends traffic on all paths of the stage, with Fairlead in between.
func TestEveryPath(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		stage := NewStage(t, s)
		stage.DropForwarded(t)
		s.Write("stage", stage.Objects()...)
		s.Start()
		stage.Await()
		traffic := Run(t, Options{Targets: stage.Targets})
		traffic.More(t, 3)
		traffic.Stop().Check(t)
	})
}
