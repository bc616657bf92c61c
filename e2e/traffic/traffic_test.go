package traffic

import (
	"errors"
	"fmt"
	"net/netip"
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

func (p *pair) start(t *testing.T) *Traffic {
	t.Helper()
	o := Options{Standing: 6, Flows: 4, Rate: 50, Beat: 20 * time.Millisecond, Patience: lab.Patience(2 * time.Second)}
	for _, f := range lab.Families {
		to := p.server.AddrPort(f, testPort)
		o.Targets = append(o.Targets, Target{Name: f.String(), From: p.client, To: to})
		// New links of IPv6 lose a first packet now and then.
		for range 10 {
			if _, err := p.client.Ask(t.Context(), "tcp", to); err == nil {
				break
			}
		}
	}
	traffic, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { traffic.Stop() })
	return traffic
}

// until waits for a report.
func until(t *testing.T, traffic *Traffic, what string, done func(Report) bool) Report {
	t.Helper()
	for deadline := time.Now().Add(lab.Patience(20 * time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if r := traffic.Report(); done(r) {
			return r
		}
	}
	t.Fatalf("not in time: %s: %v, failures %v", what, traffic.Report(), traffic.Report().First)
	return Report{}
}

func flowing(r Report) bool { return r.Echoes > 60 && r.FlowAnswers > 40 && r.Answered > 20 }

func TestGoodTrafficHasNoFailure(t *testing.T) {
	traffic := newPair(t).start(t)
	until(t, traffic, "traffic of every kind", flowing)
	r := traffic.Stop()
	r.Check(t)
	if r.Standing != 6 || r.Flows != 4 || r.Asked != r.Answered {
		t.Errorf("got %+v", r)
	}
	if again := traffic.Report(); again.Echoes != r.Echoes || again.Asked != r.Asked {
		t.Errorf("it went on after Stop: %v, then %v", r, again)
	}
}

func TestABrokenConnectionIsSeen(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t)
	until(t, traffic, "traffic of every kind", flowing)
	if err := p.tcp.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, traffic, "all standing connections broke", func(r Report) bool { return r.Failed[Standing] == 6 })
	r := until(t, traffic, "a new one is refused", func(r Report) bool { return r.Failed[New] > 0 })
	for _, f := range r.First {
		if f.Kind == New && !errors.Is(f.Err, lab.ErrRefused) || f.Network != "tcp" || f.Port == 0 || f.At.IsZero() || !f.Target.To.IsValid() {
			t.Errorf("unexpected: %v", f)
		}
	}
}

func TestALostAnswerIsSeen(t *testing.T) {
	p := newPair(t)
	traffic := p.start(t)
	until(t, traffic, "traffic of every kind", flowing)
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
	traffic := p.start(t)
	until(t, traffic, "traffic of every kind", flowing)
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
	if _, err := Start(t.Context(), Options{Targets: []Target{target}, Patience: time.Second}); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestNoPortIsUsedAgainSoon(t *testing.T) {
	var p ports
	target := Target{From: &lab.Host{}, To: lab.Loopback(lab.IPv4, 80)}
	seen := map[netip.AddrPort]bool{}
	for {
		from, ok := p.next(target, "tcp")
		if !ok {
			break
		}
		if seen[from] {
			t.Fatalf("%s again", from)
		}
		seen[from] = true
	}
	if len(seen) != lastPort-firstPort+1 {
		t.Errorf("%d ports", len(seen))
	}
	if _, ok := p.next(target, "udp"); !ok {
		t.Error("UDP has ports of its own")
	}
}

// TestEveryWayIn sends traffic by all ways in of the stage, with Fairlead in between.
func TestEveryWayIn(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) {
		s := site.New(t, variant)
		stage := NewStage(t, s)
		s.Write("stage", stage.Objects()...)
		s.Start()
		stage.Await()
		traffic, err := Start(t.Context(), Options{Targets: stage.Targets})
		if err != nil {
			t.Fatal(err)
		}
		until(t, traffic, "traffic", func(r Report) bool { return r.Answered > 300 && r.Echoes > 500 })
		traffic.Stop().Check(t)
	})
}
