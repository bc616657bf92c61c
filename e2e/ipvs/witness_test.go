//go:build ipvs

package ipvs

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// asker asks one kind of question from one host.
type asker struct {
	kind   string // tcp, udp or stream
	family lab.Family
	from   *lab.Host
}

func (a asker) String() string { return fmt.Sprintf("%s %s %s", a.kind, a.family, a.from.Name) }

// witness asks all the time, and records who answers.
type witness struct {
	s      *stage
	pods   []*lab.Host // the only ones that may answer
	askers []asker
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	heard  map[asker]int // answers of the pods
	rounds map[asker]int // how often all targets have been asked
	wrong  []string      // answers of others
}

// watch asks some targets from everywhere until end: over TCP by short connections, over UDP by one flow that never ends and by
// flows of one question.
func (s *stage) watch(targets map[lab.Family][]netip.AddrPort, pods ...*lab.Host) *witness {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w := &witness{s: s, pods: pods, cancel: cancel, heard: map[asker]int{}, rounds: map[asker]int{}}
	s.t.Cleanup(func() { w.end() })
	for _, from := range s.askers() {
		for f, list := range targets {
			for _, kind := range []string{"tcp", "udp", "stream"} {
				w.start(ctx, asker{kind, f, from}, list)
			}
		}
	}
	return w
}

func (w *witness) start(ctx context.Context, a asker, targets []netip.AddrPort) {
	w.s.t.Helper()
	w.askers = append(w.askers, a)
	if a.kind != "stream" {
		w.wg.Go(func() { w.ask(ctx, a, targets) })
		return
	}
	conn, err := a.from.ListenPacket(fmt.Sprintf("udp%d", a.family), lab.Wildcard(a.family, w.s.nextPort()).String())
	if err != nil {
		w.s.t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	w.wg.Go(func() { w.stream(ctx, a, conn, targets) })
	w.wg.Go(func() { w.read(a, conn) })
}

// end stops asking, and returns what others than the pods have answered.
func (w *witness) end() []string {
	w.cancel()
	w.wg.Wait()
	return w.wrong
}

// asked waits until every asker has asked all its targets so many times more. The round that is in progress counts, so that two are needed
// for a whole one.
func (w *witness) asked(rounds int) {
	w.s.t.Helper()
	w.more("asks", w.rounds, rounds)
}

// answered waits until every asker hears one of the pods again.
func (w *witness) answered() {
	w.s.t.Helper()
	w.more("hears a pod", w.heard, 1)
}

// more waits until a count of every asker is so much higher.
func (w *witness) more(does string, counts map[asker]int, by int) {
	w.s.t.Helper()
	before := map[asker]int{}
	for _, a := range w.askers {
		before[a] = w.count(counts, a)
	}
	w.s.Eventually("every asker "+does, func() error {
		for _, a := range w.askers {
			if n := w.count(counts, a) - before[a]; n < by {
				return fmt.Errorf("%s: %d times", a, n)
			}
		}
		return nil
	})
}

func (w *witness) count(counts map[asker]int, a asker) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return counts[a]
}

func (w *witness) ask(ctx context.Context, a asker, targets []netip.AddrPort) {
	const atOnce = 3 // most targets are silent at times, and each one takes until its timeout then
	for ctx.Err() == nil {
		for some := range slices.Chunk(targets, atOnce) {
			var asking sync.WaitGroup
			for _, to := range some {
				asking.Go(func() {
					answer, err := a.from.Ask(ctx, a.kind, to, lab.Reset(), lab.Timeout(lab.Patience(100*time.Millisecond)))
					if err == nil {
						w.hear(a, to, answer.Server)
					}
				})
			}
			asking.Wait()
		}
		w.asks(a)
		time.Sleep(20 * time.Millisecond)
	}
}

// stream sends from one port, so that every packet but the first one to a target is part of a flow that the kernel knows.
func (w *witness) stream(ctx context.Context, a asker, conn net.PacketConn, targets []netip.AddrPort) {
	for ctx.Err() == nil {
		for _, to := range targets {
			_, _ = conn.WriteTo([]byte("?\n"), net.UDPAddrFromAddrPort(to)) // there may be no route yet
		}
		w.asks(a)
		time.Sleep(lab.Patience(50 * time.Millisecond))
	}
}

func (w *witness) read(a asker, conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, of, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		server, _, _ := strings.Cut(string(buf[:n]), " ")
		addr, err := netip.ParseAddrPort(server)
		if err != nil {
			w.accuse(fmt.Sprintf("%s answers %q", of, buf[:n]))
			continue
		}
		to, _ := netip.ParseAddrPort(of.String())
		w.hear(a, to, addr)
	}
}

func (w *witness) asks(a asker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rounds[a]++
}

func (w *witness) hear(a asker, to, by netip.AddrPort) {
	if !isOneOf(by.Addr(), w.pods...) {
		w.accuse(fmt.Sprintf("%s answers the question of %s to %s at %s", by, a, to, time.Now().Format(time.TimeOnly)))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard[a]++
}

func (w *witness) accuse(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, text)
}
