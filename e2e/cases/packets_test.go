package cases

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// atOnce is how many cases ask at the same time: most of them wait for answers that do not come.
const atOnce = 24

// TestPackets runs Fairlead in the lab, takes it through the steps of all cases of a group, and sends the packets. Cases run side
// by side: a step of every one of them is written, and when it is in force all of them ask.
func TestPackets(t *testing.T) {
	needsRoot(t)
	for _, variant := range site.Variants {
		for _, group := range Groups(chosen(t)) {
			t.Run(fmt.Sprintf("%s/%s", variant, group.Flags), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, variant, group.Flags)
				wrong := map[service.Family]*findings{service.IPv4: newFindings(), service.IPv6: newFindings()}
				for round := range group.Rounds() {
					s.play(group, round, wrong)
				}
				for family, f := range wrong {
					report(t, group, family, f.byCase)
				}
			})
		}
	}
}

// findings is what was wrong, by case.
type findings struct {
	mu     sync.Mutex
	byCase map[string][]string
}

func newFindings() *findings { return &findings{byCase: map[string][]string{}} }

func (f *findings) add(c Case, step int, p Probe, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byCase[c.Name] = append(f.byCase[c.Name], fmt.Sprintf("step %d, %s: want %q: %v", step+1, p.Question.Packet, p.Question.Want, err))
}

// play writes one step of every case, waits until it is in force, and has all cases ask.
func (s *stage) play(group Group, round int, wrong map[service.Family]*findings) {
	s.t.Helper()
	for _, family := range []service.Family{service.IPv4, service.IPv6} {
		for _, c := range taking(group, family, round) {
			objects, err := c.Objects(family, round)
			if err != nil {
				s.t.Fatal(err)
			}
			s.write(c.Namespace(family), objects)
		}
	}
	s.settle(round)
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for _, family := range []service.Family{service.IPv4, service.IPv6} {
		for _, c := range taking(group, family, round) {
			asked := probes(s.t, c, family, round)
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				time.Sleep(c.Steps[round].Pause)
				for _, p := range asked {
					if site.Mode == site.IPVS {
						p = c.inIPVS(round, p)
					}
					if err := s.ask(s.t.Context(), p); err != nil {
						wrong[family].add(c, round, p, err)
					}
				}
			})
		}
	}
}

// TestANeighborReachesLocalhostWhereNobodyStopsIt makes sure that the packets of the cases about localhost do arrive.
func TestANeighborReachesLocalhostWhereNobodyStopsIt(t *testing.T) {
	needsRoot(t)
	s := buildStage(t, site.Variants[0])
	if err := s.Node().SetSysctl("ipv4/conf/all/route_localnet", "1"); err != nil {
		t.Fatal(err)
	}
	for _, packet := range []string{"node2 > localhost:30000", "node2 > localhost:30000/udp"} {
		p, err := Case{}.atlas(service.IPv4).probe(Question{packet, "passed"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ask(context.Background(), p); err != nil {
			t.Errorf("%s: %v", packet, err)
		}
	}
}
